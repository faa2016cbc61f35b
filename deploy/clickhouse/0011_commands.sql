-- What rules told machines to do. A command that was issued again after a crash is equal in all columns: SELECT … FROM commands FINAL.
CREATE TABLE IF NOT EXISTS commands
(
    command_id String,
    tenant LowCardinality(String),
    domain LowCardinality(String),
    plant LowCardinality(String),
    device_id LowCardinality(String),
    command LowCardinality(String),
    alert_id String,
    rule LowCardinality(String),
    issued_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    expires_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    CONSTRAINT issued_at_in_range CHECK issued_at BETWEEN '1970-01-01' AND '2090-01-01',
    CONSTRAINT expires_at_in_range CHECK expires_at BETWEEN '1970-01-01' AND '2090-01-01'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(issued_at)
ORDER BY (tenant, device_id, issued_at, command_id)
TTL toDateTime(issued_at) + INTERVAL 10 YEAR
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1

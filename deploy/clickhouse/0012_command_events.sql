-- What became of every command, one row a change; the audit of what machines were told. One that was sent or answered again has
-- another row of the same status and another time.
CREATE TABLE IF NOT EXISTS command_events
(
    command_id String,
    tenant LowCardinality(String),
    domain LowCardinality(String),
    plant LowCardinality(String),
    device_id LowCardinality(String),
    status LowCardinality(String),
    detail String CODEC(ZSTD),
    at DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    CONSTRAINT at_in_range CHECK at BETWEEN '1970-01-01' AND '2090-01-01'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (tenant, device_id, command_id, at, status)
TTL toDateTime(at) + INTERVAL 10 YEAR
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1

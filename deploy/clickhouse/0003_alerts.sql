-- Every change in the life of every alert episode; alert_id is the same for all changes of one. An alert that was sent again after a
-- crash is equal in all columns: SELECT … FROM alerts FINAL.
CREATE TABLE IF NOT EXISTS alerts
(
    alert_id String,
    tenant LowCardinality(String),
    domain LowCardinality(String),
    device_id LowCardinality(String),
    subject LowCardinality(String),
    rule LowCardinality(String),
    severity LowCardinality(String),
    status LowCardinality(String),
    value Float64,
    threshold Float64,
    message String CODEC(ZSTD),
    raised_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    changed_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    historic Bool,
    CONSTRAINT raised_at_in_range CHECK raised_at BETWEEN '1970-01-01' AND '2090-01-01',
    CONSTRAINT changed_at_in_range CHECK changed_at BETWEEN '1970-01-01' AND '2090-01-01'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(raised_at)
ORDER BY (tenant, device_id, raised_at, alert_id, changed_at, status)
TTL toDateTime(raised_at) + INTERVAL 10 YEAR
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1

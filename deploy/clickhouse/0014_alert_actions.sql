-- Who did what about which alert, and when: the audit. One that was written again is equal: SELECT … FROM alert_actions FINAL.
CREATE TABLE IF NOT EXISTS alert_actions
(
    action_id String,
    tenant LowCardinality(String),
    device_id LowCardinality(String),
    alert_id Nullable(String),
    rule LowCardinality(Nullable(String)),
    action LowCardinality(String),
    severity LowCardinality(Nullable(String)),
    until Nullable(DateTime64(3, 'UTC')),
    by LowCardinality(String),
    note String CODEC(ZSTD),
    at DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    CONSTRAINT at_in_range CHECK at BETWEEN '1970-01-01' AND '2090-01-01'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (tenant, device_id, at, action_id)
TTL toDateTime(at) + INTERVAL 10 YEAR
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1

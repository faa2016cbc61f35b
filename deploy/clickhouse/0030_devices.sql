-- Every device as it was ever registered or retired, by whom and when. How it is now: the gateway's /api/devices.
CREATE TABLE IF NOT EXISTS devices
(
    device_key String CODEC(ZSTD),
    tenant_id LowCardinality(String),
    device_id String CODEC(ZSTD),
    device_type LowCardinality(String),
    protocol LowCardinality(String),
    latitude Nullable(Float64),
    longitude Nullable(Float64),
    district LowCardinality(String),
    firmware LowCardinality(String),
    registered_at DateTime64(3, 'UTC'),
    metadata Map(LowCardinality(String), String) CODEC(ZSTD),
    retired Bool,
    applied_at DateTime64(3, 'UTC'),
    applied_by LowCardinality(String),
    CONSTRAINT registered_at_in_range CHECK registered_at BETWEEN '1970-01-01' AND '2090-01-01',
    CONSTRAINT applied_at_in_range CHECK applied_at BETWEEN '1970-01-01' AND '2090-01-01'
)
ENGINE = ReplacingMergeTree
ORDER BY (tenant_id, device_id, applied_at)
SETTINGS non_replicated_deduplication_window = 1000

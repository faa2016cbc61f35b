-- Good records that came after their windows were final, as they came, with how late they were. `value` is bytes: select hex(value).
CREATE TABLE IF NOT EXISTS late_records
(
    device_id LowCardinality(String),
    topic LowCardinality(String),
    partition Int32,
    offset Int64 CODEC(Delta, ZSTD),
    timestamp DateTime64(3, 'UTC') CODEC(Delta, ZSTD) COMMENT 'event time of the record',
    late_by_ms Int64 CODEC(ZSTD),
    value Nullable(String) CODEC(ZSTD),
    CONSTRAINT timestamp_in_range CHECK timestamp BETWEEN '1970-01-01' AND '2090-01-01'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(timestamp)
ORDER BY (topic, partition, offset)
TTL toDateTime(timestamp) + INTERVAL 90 DAY
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1

-- Sensor readings that are fit for rules and windows, late ones included; the others are in dead_letters.
-- A reading that was delivered or inserted twice has the same sorting key: merges keep the record with the highest offset, and
-- SELECT … FROM readings FINAL shows only that one, whether or not the merge has happened yet.
-- Sorted for the history of a device and sensor; a device stands in one production line, so lines lie together too.
CREATE TABLE IF NOT EXISTS readings
(
    device_id LowCardinality(String),
    sensor_type LowCardinality(String),
    value Float64 CODEC(ZSTD),
    timestamp DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    location LowCardinality(String),
    metadata Map(LowCardinality(String), String) CODEC(ZSTD),
    partition Int32 CODEC(ZSTD) COMMENT 'of factory.readings: with offset, the record it came from',
    offset Int64 CODEC(Delta, ZSTD),
    production_line LowCardinality(String) MATERIALIZED metadata['production_line'],
    shift LowCardinality(String) MATERIALIZED metadata['shift'],
    INDEX production_line production_line TYPE set(8),
    -- ClickHouse would take times beyond the range of its types for other times, and expire them, without a word
    CONSTRAINT timestamp_in_range CHECK timestamp BETWEEN '1970-01-01' AND '2090-01-01'
)
ENGINE = ReplacingMergeTree(offset)
PARTITION BY toYYYYMMDD(timestamp)
ORDER BY (device_id, sensor_type, timestamp)
-- longer than Kafka keeps them, shorter than windows; what is older when it comes is not stored at all
TTL toDateTime(timestamp) + INTERVAL 90 DAY
SETTINGS
    non_replicated_deduplication_window = 1000,
    ttl_only_drop_parts = 1,
    -- merges column by column although there are fewer than 11: a quarter less CPU, for the map's sake
    vertical_merge_algorithm_min_columns_to_activate = 1

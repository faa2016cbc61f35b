-- Measurements of the city's devices that are fit for rules and windows, late ones included; the others are in dead_letters. One that was
-- delivered or inserted twice counts once: SELECT … FROM city_readings FINAL.
CREATE TABLE IF NOT EXISTS city_readings
(
    device_id LowCardinality(String),
    sensor_type LowCardinality(String),
    value Float64 CODEC(ZSTD),
    timestamp DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    district LowCardinality(String),
    data_type LowCardinality(String),
    tenant_id LowCardinality(String),
    message_id String CODEC(ZSTD),
    origin LowCardinality(String),
    position Int64 CODEC(Delta, ZSTD),
    partition Int32 CODEC(ZSTD) COMMENT 'of city.readings: with offset, the record it came from',
    offset Int64 CODEC(Delta, ZSTD),
    INDEX district district TYPE set(100),
    CONSTRAINT timestamp_in_range CHECK timestamp BETWEEN '1970-01-01' AND '2090-01-01'
)
ENGINE = ReplacingMergeTree(offset)
PARTITION BY toYYYYMMDD(timestamp)
-- by what is measured first: districts are asked about one or a few of it, and a device has few
ORDER BY (tenant_id, sensor_type, device_id, timestamp)
TTL toDateTime(timestamp) + INTERVAL 90 DAY
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1

-- Statistics of what was measured in a district (device_id) over an hour or a day; of noise its energy, as a share of that of 100 dB(A).
CREATE TABLE IF NOT EXISTS district_windows
(
    device_id LowCardinality(String),
    sensor_type LowCardinality(String),
    window_seconds Int32,
    window_start DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    count Int64 CODEC(ZSTD),
    mean Float64 CODEC(ZSTD),
    min Float64 CODEC(ZSTD),
    max Float64 CODEC(ZSTD),
    stddev Float64 CODEC(ZSTD) COMMENT 'of the population: divided by count',
    last Float64 CODEC(ZSTD),
    last_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    revision Int64 CODEC(ZSTD),
    closed_by LowCardinality(String),
    CONSTRAINT window_start_in_range CHECK window_start BETWEEN '1970-01-01' AND '2090-01-01',
    CONSTRAINT last_at_in_range CHECK last_at BETWEEN '1970-01-01' AND '2090-01-01'
)
ENGINE = ReplacingMergeTree(revision)
PARTITION BY toYYYYMM(window_start)
ORDER BY (device_id, sensor_type, window_seconds, window_start)
TTL toDateTime(window_start) + INTERVAL 3 YEAR
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1

-- Records that could not be used, as they came, with the reason; topic, partition and offset say where. `value` and `key` are bytes
-- and need not be text: select hex(value). `timestamp` is whatever the record's producer said, beyond what DateTime64 shows too:
-- toUnixTimestamp64Milli(timestamp) is exact. So only the sorting
-- key depends on it: letters of the gateway have no partition and offset, and are told apart by time and content.
CREATE TABLE IF NOT EXISTS dead_letters
(
    reason LowCardinality(String),
    detail String CODEC(ZSTD),
    topic LowCardinality(String),
    partition Int32,
    offset Int64 CODEC(Delta, ZSTD),
    timestamp DateTime64(3, 'UTC') CODEC(Delta, ZSTD) COMMENT 'the Kafka timestamp of the record',
    key Nullable(String) CODEC(ZSTD),
    value Nullable(String) CODEC(ZSTD),
    stored_at DateTime('UTC') DEFAULT now() CODEC(ZSTD)
)
ENGINE = ReplacingMergeTree
ORDER BY (topic, partition, offset, timestamp, cityHash64(ifNull(value, '')))
TTL stored_at + INTERVAL 90 DAY
SETTINGS non_replicated_deduplication_window = 1000

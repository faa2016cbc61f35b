-- What devices sent, as the gateway took it. A message that was taken or inserted twice counts once: SELECT … FROM messages FINAL.
CREATE TABLE IF NOT EXISTS messages
(
    message_id String CODEC(ZSTD),
    device_id String CODEC(ZSTD),
    tenant_id LowCardinality(String),
    source_protocol LowCardinality(String),
    original_topic String CODEC(ZSTD),
    ingestion_time DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    processing_time DateTime64(3, 'UTC') CODEC(Delta, ZSTD),
    data String CODEC(ZSTD),
    data_type LowCardinality(String),
    metadata Tuple(qos Int32, priority LowCardinality(String), gateway_node LowCardinality(String)),
    defect String DEFAULT '' CODEC(ZSTD),
    CONSTRAINT ingestion_time_in_range CHECK ingestion_time BETWEEN '1970-01-01' AND '2090-01-01'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMMDD(ingestion_time)
ORDER BY (tenant_id, data_type, device_id, original_topic, message_id)
TTL toDateTime(ingestion_time) + INTERVAL 90 DAY
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1

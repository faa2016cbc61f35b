-- Every row of the gateway's mapping as it was ever applied: the audit of who sent whose messages where.
CREATE TABLE IF NOT EXISTS mappings
(
    mapping_id LowCardinality(String),
    pattern String,
    topic String,
    data_type LowCardinality(String),
    device String,
    tenant LowCardinality(String),
    priority LowCardinality(String),
    qos Int32,
    layout String,
    record String,
    retired Bool,
    applied_at DateTime64(3, 'UTC'),
    applied_by LowCardinality(String),
    CONSTRAINT applied_at_in_range CHECK applied_at BETWEEN '1970-01-01' AND '2090-01-01'
)
ENGINE = ReplacingMergeTree
ORDER BY (mapping_id, applied_at)
SETTINGS non_replicated_deduplication_window = 1000

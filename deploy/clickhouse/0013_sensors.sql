-- Every change of every sensor type, by whom and when: the audit of what readings were judged by.
CREATE TABLE IF NOT EXISTS sensors
(
    sensor_id LowCardinality(String),
    domain LowCardinality(String),
    name LowCardinality(String),
    unit LowCardinality(String),
    minimum Float64,
    maximum Float64,
    critical Float64,
    fast Float64,
    retired Bool,
    in_force_at DateTime64(3, 'UTC'),
    applied_at DateTime64(3, 'UTC'),
    applied_by LowCardinality(String),
    CONSTRAINT in_force_at_in_range CHECK in_force_at BETWEEN '1970-01-01' AND '2090-01-01',
    CONSTRAINT applied_at_in_range CHECK applied_at BETWEEN '1970-01-01' AND '2090-01-01'
)
ENGINE = ReplacingMergeTree
ORDER BY (sensor_id, in_force_at)
SETTINGS non_replicated_deduplication_window = 1000

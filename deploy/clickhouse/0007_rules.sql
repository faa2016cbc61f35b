-- Every change of every rule, by whom and when: the audit of what alerts were raised by.
CREATE TABLE IF NOT EXISTS rules
(
    rule_id LowCardinality(String),
    domain LowCardinality(String),
    name LowCardinality(String),
    over LowCardinality(String),
    severity LowCardinality(String),
    raises String CODEC(ZSTD),
    clears String CODEC(ZSTD),
    threshold String CODEC(ZSTD),
    cooldown_minutes Float64,
    message String CODEC(ZSTD),
    retired Bool,
    applied_at DateTime64(3, 'UTC'),
    applied_by LowCardinality(String),
    CONSTRAINT applied_at_in_range CHECK applied_at BETWEEN '1970-01-01' AND '2090-01-01'
)
ENGINE = ReplacingMergeTree
ORDER BY (rule_id, applied_at)
SETTINGS non_replicated_deduplication_window = 1000

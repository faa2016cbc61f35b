-- Which member of a payload says when it was measured, and how.
ALTER TABLE mappings
    ADD COLUMN IF NOT EXISTS time String DEFAULT '',
    ADD COLUMN IF NOT EXISTS time_unit LowCardinality(String) DEFAULT 'ms'

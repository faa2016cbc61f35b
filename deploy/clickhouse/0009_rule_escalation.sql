ALTER TABLE rules
    ADD COLUMN IF NOT EXISTS hold_seconds Float64,
    ADD COLUMN IF NOT EXISTS escalates Nullable(String),
    ADD COLUMN IF NOT EXISTS escalates_to LowCardinality(Nullable(String))

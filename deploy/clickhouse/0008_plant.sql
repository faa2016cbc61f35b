-- The plant a machine publishes under, which is where commands go.
ALTER TABLE readings ADD COLUMN IF NOT EXISTS plant LowCardinality(String) AFTER metadata

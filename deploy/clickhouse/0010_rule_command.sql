-- What a rule tells the machine to do when it raises.
ALTER TABLE rules ADD COLUMN IF NOT EXISTS command LowCardinality(String)

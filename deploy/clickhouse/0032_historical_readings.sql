-- Whether the device said that a measurement is of the past, not of now.
ALTER TABLE city_readings ADD COLUMN IF NOT EXISTS historical Bool DEFAULT false CODEC(ZSTD)

-- How a command is to be done, and of whose request it is a part.
ALTER TABLE commands
    ADD COLUMN IF NOT EXISTS parameters String DEFAULT '{}',
    ADD COLUMN IF NOT EXISTS request_id String,
    ADD COLUMN IF NOT EXISTS asked_by String

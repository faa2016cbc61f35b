-- Why a message could not be decoded, in the decoder's words; empty where it was.
ALTER TABLE messages ADD COLUMN IF NOT EXISTS defect String DEFAULT '' CODEC(ZSTD)

-- Alerts of rules that forecast: when the limit is expected to be met, and how sure that is (1 in the change that clears one that came true).
ALTER TABLE alerts
    ADD COLUMN IF NOT EXISTS expected_at Nullable(DateTime64(3, 'UTC')),
    ADD COLUMN IF NOT EXISTS confidence Nullable(Float64)

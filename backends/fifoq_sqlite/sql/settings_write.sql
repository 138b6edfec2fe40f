-- Inputs: 1 gate, 2 override, 3-7 the settings.
INSERT INTO fifoq_settings (gate, override, "limit", value_limit, capacity, interval, burst)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT (gate, override) DO UPDATE
SET "limit" = excluded."limit", value_limit = excluded.value_limit, capacity = excluded.capacity,
    interval = excluded.interval, burst = excluded.burst;

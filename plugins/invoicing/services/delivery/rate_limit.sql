-- name: lock_slots
SELECT pg_advisory_xact_lock(hashtext('invoicing.transmission_slot'));

-- name: correct_slots
-- The database's clock was set back: what it calls the future ended just now, at the latest.
UPDATE invoicing.transmission_slot
SET taken_at = least(taken_at, clock_timestamp()),
    ended_at = CASE WHEN ended_at IS NOT NULL THEN least(ended_at, clock_timestamp()) END
WHERE taken_at > clock_timestamp() OR ended_at > clock_timestamp();

-- name: slots_in_use
-- Transmissions under way, or ended within the last minute; and how long until the oldest of these is over.
SELECT count(*) AS used,
       coalesce(extract(epoch FROM min(ended_at) + interval '60 seconds' - clock_timestamp()), 1)::float8 AS wait_seconds
FROM invoicing.transmission_slot
WHERE ended_at > clock_timestamp() - interval '60 seconds'
   OR ended_at IS NULL AND taken_at > clock_timestamp() - %(longest)s;

-- name: take_slot
INSERT INTO invoicing.transmission_slot DEFAULT VALUES RETURNING id;

-- name: forget_slots
DELETE FROM invoicing.transmission_slot
WHERE ended_at < clock_timestamp() - interval '2 minutes' OR taken_at < clock_timestamp() - %(longest)s - interval '2 minutes';

-- name: end_slot
UPDATE invoicing.transmission_slot SET ended_at = clock_timestamp() WHERE id = %(id)s;

-- name: return_slot
DELETE FROM invoicing.transmission_slot WHERE id = %(id)s;

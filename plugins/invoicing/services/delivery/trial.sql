-- name: take_turns
-- Of one person's tests, until the transaction ends: two at once count each other.
SELECT pg_advisory_xact_lock(hashtext('invoicing.trial_message'), hashtext(%(user_id)s));

-- name: room
-- How many the person asked for within the last hour, and when the oldest of those that fill the hour is out of it.
SELECT count(*) AS asked, ceil(extract(epoch FROM min(asked_at) + interval '1 hour' - now()))::integer AS seconds
FROM (
    SELECT asked_at FROM invoicing.trial_message
    WHERE user_id = %(user_id)s AND asked_at > now() - interval '1 hour'
    ORDER BY asked_at DESC LIMIT %(most)s
) AS latest;

-- name: write_down
INSERT INTO invoicing.trial_message (user_id, actor, to_address, template_version_id, parts_sha256, message_id)
VALUES (%(user_id)s, %(actor)s, %(to)s, %(template_version_id)s, %(parts_sha256)s, %(message_id)s)
RETURNING id;

-- name: settle
UPDATE invoicing.trial_message
SET outcome = %(outcome)s, code = %(code)s, reply = %(reply)s, ended_at = now()
WHERE id = %(id)s;

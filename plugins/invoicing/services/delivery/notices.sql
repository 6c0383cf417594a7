-- name: keep
INSERT INTO invoicing.operator_notice (cause, texts, alarm_on) VALUES (%(cause)s, %(texts)s, %(alarm_on)s)
ON CONFLICT (cause, alarm_on) DO NOTHING
RETURNING id;

-- name: take
-- What is older than a week is no news any more: it is counted by `bin/invoicing health`, and not sent.
SELECT id, cause, texts, attempts FROM invoicing.operator_notice
WHERE sent_at IS NULL AND created_at > now() - interval '7 days' AND id > %(after)s
  AND (%(only)s::bigint IS NULL OR id = %(only)s)
ORDER BY id LIMIT 1
FOR UPDATE SKIP LOCKED;

-- name: sent
UPDATE invoicing.operator_notice SET attempts = attempts + 1, sent_at = now(), problem = NULL WHERE id = %(id)s;

-- name: unsent
UPDATE invoicing.operator_notice SET attempts = attempts + 1, problem = %(problem)s WHERE id = %(id)s;

-- name: resolve
-- A person's word on a doubt; it counts once.
UPDATE invoicing.delivery
SET state = %(state)s, on_request = on_request OR %(state)s = 'pending', given_up = %(state)s = 'failed',
    run_id = CASE WHEN %(state)s <> 'pending' THEN run_id END, actor = %(actor)s, reason = %(reason)s
WHERE id = %(id)s AND state = 'in_doubt'
RETURNING id;

-- name: lock_deliveries
SELECT d.id, d.state, d.given_up, invoicing.may_have_left(d.id) AS may_have_left, t.code AS tenant_code, t.emails,
       t.cc_emails, t.auto_send AS tenant_auto_send, s.auto_send, invoicing.is_held(t.id, d.period) AS is_held,
       EXISTS (SELECT FROM invoicing.delivery_invoice AS di JOIN invoicing.invoice AS i ON i.id = di.invoice_id
               WHERE di.delivery_id = d.id AND i.state NOT IN ('void', 'credited')) AS carries_what_stands
FROM invoicing.delivery AS d JOIN invoicing.tenant AS t ON t.id = d.tenant_id
CROSS JOIN invoicing.settings_in_force AS s
WHERE d.id = ANY(%(ids)s) ORDER BY d.id FOR UPDATE OF d;

-- name: lock_family
-- All deliveries of the same invoices: the first, and every one that sent them again.
SELECT id, state FROM invoicing.delivery
WHERE coalesce(resend_of, id) IN (SELECT coalesce(resend_of, id) FROM invoicing.delivery WHERE id = ANY(%(ids)s))
ORDER BY id FOR UPDATE;

-- name: unfinished_of_family
SELECT id, state FROM invoicing.delivery
WHERE coalesce(resend_of, id) = (SELECT coalesce(resend_of, id) FROM invoicing.delivery WHERE id = %(id)s)
  AND id <> %(id)s AND state NOT IN ('sent', 'failed', 'cancelled')
ORDER BY id LIMIT 1;

-- name: add_resend
-- Without what was credited whole since. With the words of then, it has the settings, template and language of the one that
-- it sends again.
WITH added AS (
    INSERT INTO invoicing.delivery
        (cycle_id, tenant_id, period, purpose, generation, resend_of, message_id, to_addresses, cc_addresses,
         language, settings_version_id, template_version_id, on_request, keeps_words, actor, reason)
    SELECT d.cycle_id, d.tenant_id, d.period, 'resend',
           1 + (SELECT max(g.generation) FROM invoicing.delivery AS g
                WHERE coalesce(g.resend_of, g.id) = coalesce(d.resend_of, d.id)),
           coalesce(d.resend_of, d.id), %(message_id)s, t.emails, t.cc_emails,
           CASE WHEN %(keeps_words)s THEN d.language ELSE t.language END,
           CASE WHEN %(keeps_words)s THEN d.settings_version_id ELSE %(settings_version_id)s END,
           CASE WHEN %(keeps_words)s THEN d.template_version_id ELSE %(template_version_id)s END,
           true, %(keeps_words)s, %(actor)s, %(reason)s
    FROM invoicing.delivery AS d JOIN invoicing.tenant AS t ON t.id = d.tenant_id
    WHERE d.id = %(id)s
    RETURNING id
), invoices AS (
    SELECT added.id, di.invoice_id FROM added, invoicing.delivery_invoice AS di
    JOIN invoicing.invoice AS i ON i.id = di.invoice_id
    WHERE di.delivery_id = %(id)s AND i.state NOT IN ('void', 'credited')
)
SELECT id, invoice_id FROM invoices;

-- name: request_unaccepted
-- What was refused, or withdrawn by a person: nothing of it was accepted, it is taken up as it is. Its content is brought up
-- to date when it is claimed.
UPDATE invoicing.delivery AS d
SET state = 'pending', on_request = true, given_up = false, run_id = NULL, actor = %(actor)s, reason = %(reason)s,
    to_addresses = CASE WHEN invoicing.may_have_left(d.id) THEN d.to_addresses ELSE t.emails END,
    cc_addresses = CASE WHEN invoicing.may_have_left(d.id) THEN d.cc_addresses ELSE t.cc_emails END
FROM invoicing.tenant AS t
WHERE t.id = d.tenant_id AND d.id = %(id)s AND d.state IN ('failed', 'cancelled');

-- name: cancel
-- By a person: its invoices count as dealt with, no run makes another delivery of them.
UPDATE invoicing.delivery
SET state = 'cancelled', given_up = true, on_request = false, actor = %(actor)s, reason = %(reason)s
WHERE id = %(id)s AND state IN ('pending', 'failed', 'held') AND NOT invoicing.may_have_left(id)
RETURNING id;

-- name: lock_deliveries
-- Of an invoice, against claim and mark.
SELECT d.id, d.state, invoicing.may_have_left(d.id) AS may_have_left
FROM invoicing.delivery AS d
WHERE d.id IN (SELECT di.delivery_id FROM invoicing.delivery_invoice AS di WHERE di.invoice_id = %(invoice_id)s)
ORDER BY d.id FOR UPDATE;

-- name: end_claims
-- A claim alone has sent nothing: its worker's mark finds it gone.
UPDATE invoicing.delivery SET state = 'pending', claim_until = NULL, actor = %(actor)s, reason = %(reason)s
WHERE id = ANY(%(ids)s) AND state = 'claimed';

-- name: withdraw
-- Made anew with what replaces the invoice.
UPDATE invoicing.delivery SET state = 'cancelled', on_request = false, actor = %(actor)s, reason = %(reason)s
WHERE id = ANY(%(ids)s) AND state IN ('pending', 'failed', 'held');

-- name: withdraw_emptied
UPDATE invoicing.delivery AS d SET state = 'cancelled', on_request = false, actor = %(actor)s, reason = %(reason)s
WHERE d.id = ANY(%(ids)s) AND d.state IN ('pending', 'failed', 'held') AND NOT EXISTS (
    SELECT FROM invoicing.delivery_invoice AS di WHERE di.delivery_id = d.id AND di.live);

-- name: latest_run
-- Of a month: the newest that has decided, else the newest.
SELECT id, decided_at IS NOT NULL AS has_decided FROM invoicing.cycle_run
WHERE cycle_id = %(cycle_id)s ORDER BY decided_at IS NULL, started_at DESC, id DESC LIMIT 1;

-- name: request
UPDATE invoicing.delivery SET on_request = true, run_id = NULL WHERE id = ANY(%(ids)s) AND state = 'pending';

-- name: free_claims
-- A claim alone has sent nothing.
UPDATE invoicing.delivery
SET state = 'pending', claim_until = NULL, actor = %(actor)s, reason = 'the worker that claimed it went silent'
WHERE state = 'claimed' AND claim_until < now()
RETURNING id;

-- name: doubt_transmissions
UPDATE invoicing.delivery
SET state = 'in_doubt', claim_until = NULL, actor = %(actor)s, reason = 'the worker went silent while it transmitted'
WHERE state = 'transmitting' AND claim_until < now()
RETURNING id;

-- name: release_doubts
-- The agency chose at-least-once: what is in doubt for long enough goes out again, under the same Message-ID, a
-- few times at the most. Doubts older than the choice are not meant by it,
-- nor what was credited since.
UPDATE invoicing.delivery
SET state = 'pending', on_request = true, run_id = NULL, doubt_resends = doubt_resends + 1, actor = %(actor)s,
    reason = 'in doubt for longer than the policy allows'
WHERE state = 'in_doubt' AND updated_at < now() - %(after)s AND doubt_resends < %(most)s
  AND NOT EXISTS (
      SELECT FROM invoicing.delivery_invoice AS di JOIN invoicing.invoice AS i ON i.id = di.invoice_id
      WHERE di.delivery_id = delivery.id AND i.state = 'credited')
  AND updated_at > (
      SELECT coalesce(max(created_at), '-infinity') FROM invoicing.settings_version
      WHERE settings ->> 'doubt_policy' IS DISTINCT FROM 'resend_after')
RETURNING id;

-- name: untold
-- What `send_new_invoices` is to do and no run of it has taken up: it was not told, or its telling was lost.
SELECT (SELECT count(*) FROM invoicing.invoice AS i
        WHERE (i.origin <> 'monthly' OR i.sent_apart) AND (i.stands OR i.kind = 'credit_note') AND NOT EXISTS (
            SELECT FROM invoicing.decision AS d WHERE d.invoice_id = i.id AND d.superseded_at IS NULL))
     + (SELECT count(*) FROM invoicing.delivery
        WHERE (cycle_id IS NULL OR on_request) AND state = 'pending' AND run_id IS NULL) AS waiting;

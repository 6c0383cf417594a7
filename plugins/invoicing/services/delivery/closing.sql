-- name: stages_of_run
SELECT generated_at, counted_at, decided_at FROM invoicing.cycle_run WHERE id = %(run_id)s;

-- name: first_delivery_counts
-- What a monthly run answers for; a resend is its own run's.
SELECT state, count(*) AS deliveries FROM invoicing.delivery
WHERE cycle_id = %(cycle_id)s AND purpose = 'initial' GROUP BY state;

-- name: imbalances
-- What keeps a cycle from balancing (docs/contract.md, section 5), one row per fault: none means that tenants with
-- invoices = decisions, that every invoice due to be sent is in exactly one live first delivery, and that no
-- tenant who gets no mail has one that was not sent already.
WITH standing AS (
    SELECT id, number, tenant_id, sent_apart FROM invoicing.invoice
    WHERE cycle_id = %(cycle_id)s AND origin = 'monthly' AND stands
), current_decision AS (
    SELECT tenant_id, reason, invoice_count FROM invoicing.decision WHERE cycle_id = %(cycle_id)s AND superseded_at IS NULL
), live AS (
    SELECT di.invoice_id, d.tenant_id, d.id, d.state, d.given_up FROM invoicing.delivery AS d
    JOIN invoicing.delivery_invoice AS di ON di.delivery_id = d.id
    WHERE d.cycle_id = %(cycle_id)s AND d.purpose = 'initial' AND di.live
)
SELECT 'tenant_undecided' AS code, t.code AS tenant, NULL AS invoice, NULL::bigint AS delivery, NULL AS state,
       NULL::integer AS decided_on, NULL::bigint AS standing
FROM (SELECT DISTINCT tenant_id FROM standing) AS s
JOIN invoicing.tenant AS t ON t.id = s.tenant_id
WHERE NOT EXISTS (SELECT FROM current_decision AS c WHERE c.tenant_id = s.tenant_id)
UNION ALL
SELECT 'decision_without_invoice', t.code, NULL, NULL, NULL, NULL, NULL
FROM current_decision AS c JOIN invoicing.tenant AS t ON t.id = c.tenant_id
WHERE NOT EXISTS (SELECT FROM standing AS s WHERE s.tenant_id = c.tenant_id)
UNION ALL
SELECT 'decided_on_fewer', t.code, NULL, NULL, NULL, c.invoice_count, count(*)
FROM current_decision AS c JOIN invoicing.tenant AS t ON t.id = c.tenant_id
JOIN standing AS s ON s.tenant_id = c.tenant_id
GROUP BY t.code, c.invoice_count HAVING count(*) > c.invoice_count
UNION ALL
SELECT 'invoice_undelivered', NULL, s.number, NULL, NULL, NULL, NULL
FROM standing AS s JOIN current_decision AS c ON c.tenant_id = s.tenant_id AND c.reason IS NULL
WHERE NOT s.sent_apart AND NOT EXISTS (SELECT FROM live WHERE live.invoice_id = s.id)
UNION ALL
SELECT DISTINCT 'delivery_unwanted', NULL, NULL, live.id, live.state, NULL::integer, NULL::bigint
FROM live JOIN current_decision AS c ON c.tenant_id = live.tenant_id AND c.reason IS NOT NULL
WHERE live.state IN ('pending', 'failed', 'held') AND NOT (live.state = 'held' AND c.reason = 'tenant_held') AND NOT live.given_up AND NOT invoicing.may_have_left(live.id)
UNION ALL
SELECT DISTINCT 'delivery_of_void_invoice', NULL, NULL, live.id, NULL, NULL::integer, NULL::bigint
FROM live JOIN invoicing.invoice AS i ON i.id = live.invoice_id AND i.state = 'void'
LIMIT 50;

-- name: end_run
UPDATE invoicing.cycle_run SET state = %(state)s, ended_at = now() WHERE id = %(run_id)s;

-- name: close_cycle
UPDATE invoicing.billing_cycle SET state = 'closed', closed_at = now() WHERE id = %(cycle_id)s;

-- name: delivery_counts_of_run
-- Its own, and what it found left over by an earlier run and brought to an end that needs a person.
SELECT state, count(*) AS deliveries FROM invoicing.delivery
WHERE run_id = %(run_id)s
   OR run_id <> %(run_id)s AND state IN ('failed', 'in_doubt') AND starts_with(claimed_by, %(tasks)s)
GROUP BY state;

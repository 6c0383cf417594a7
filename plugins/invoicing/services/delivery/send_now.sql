-- name: find_tenants
SELECT t.id, t.code, EXISTS (
    SELECT FROM invoicing.invoice AS i
    WHERE i.cycle_id = %(cycle_id)s AND i.tenant_id = t.id AND i.origin = 'monthly' AND i.stands) AS has_invoices
FROM invoicing.tenant AS t WHERE t.code = ANY(%(codes)s);

-- name: runs_of_cycle
-- The newest first: whether it is at work, and whether it has decided.
SELECT id, dag_run_id, state = 'running' AS is_running, decided_at IS NOT NULL AS has_decided
FROM invoicing.cycle_run WHERE cycle_id = %(cycle_id)s ORDER BY started_at DESC, id DESC;

-- name: under_way
-- What a worker has, or what a run that is at work is about to send.
SELECT d.id, t.code, d.state FROM invoicing.delivery AS d
JOIN invoicing.tenant AS t ON t.id = d.tenant_id
LEFT JOIN invoicing.cycle_run AS r ON r.id = d.run_id
WHERE d.cycle_id = %(cycle_id)s AND d.tenant_id = ANY(%(tenant_ids)s) AND d.purpose = 'initial'
  AND (d.state IN ('claimed', 'transmitting') OR d.state = 'pending' AND r.state = 'running')
ORDER BY t.code, d.id LIMIT 1;

-- name: request
-- Not the month's run sends these, but the next run of `send_new_invoices`.
UPDATE invoicing.delivery SET on_request = true, run_id = NULL, actor = %(actor)s
WHERE cycle_id = %(cycle_id)s AND tenant_id = ANY(%(tenant_ids)s) AND purpose = 'initial' AND state = 'pending'
RETURNING id, tenant_id;

-- name: states
SELECT id, state, last_reply, reason FROM invoicing.delivery WHERE id = ANY(%(ids)s) ORDER BY id;

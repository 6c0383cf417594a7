-- name: open_cycle
INSERT INTO invoicing.billing_cycle (period) VALUES (%(period)s)
ON CONFLICT (period) DO UPDATE SET state = 'open', closed_at = NULL
RETURNING id;

-- name: open_run
-- A run that is cleared from its start takes a new snapshot: it does everything anew.
INSERT INTO invoicing.cycle_run
    (cycle_id, dag_id, dag_run_id, settings_version_id, template_version_id, code_version)
VALUES (%(cycle_id)s, %(dag_id)s, %(dag_run_id)s, %(settings_version_id)s, %(template_version_id)s, %(code_version)s)
ON CONFLICT (dag_id, dag_run_id) DO UPDATE SET
    cycle_id = EXCLUDED.cycle_id, settings_version_id = EXCLUDED.settings_version_id,
    template_version_id = EXCLUDED.template_version_id, code_version = EXCLUDED.code_version,
    state = 'running', counts = '{}', started_at = now(),
    generated_at = NULL, counted_at = NULL, decided_at = NULL, ended_at = NULL
RETURNING id;

-- name: run
SELECT r.*, c.period FROM invoicing.cycle_run AS r
LEFT JOIN invoicing.billing_cycle AS c ON c.id = r.cycle_id
WHERE r.id = %(run_id)s;

-- name: lock_cycle
-- Two runs of one period take turns, task by task.
SELECT id FROM invoicing.billing_cycle WHERE id = %(cycle_id)s FOR UPDATE;

-- name: lock_single_invoices
SELECT pg_advisory_xact_lock(hashtext('invoicing.single_invoices'));

-- name: mark_generated
UPDATE invoicing.cycle_run SET generated_at = now(), counts = counts || %(counts)s WHERE id = %(run_id)s;

-- name: mark_counted
UPDATE invoicing.cycle_run SET counted_at = now(), counts = counts || %(counts)s WHERE id = %(run_id)s;

-- name: mark_decided
UPDATE invoicing.cycle_run SET decided_at = now(), counts = counts || %(counts)s WHERE id = %(run_id)s;

-- name: cycle_of_period
SELECT id, period, state, opened_at, closed_at FROM invoicing.billing_cycle WHERE period = %(period)s;

-- name: cycles
SELECT id, period, state, opened_at, closed_at FROM invoicing.billing_cycle ORDER BY period DESC;

-- name: runs_of_cycle
SELECT id, dag_id, dag_run_id, state, started_at, ended_at, settings_version_id, template_version_id,
       code_version, counts
FROM invoicing.cycle_run WHERE cycle_id = %(cycle_id)s ORDER BY started_at;

-- name: invoice_sums
SELECT currency, count(*) AS count, sum(total) AS total FROM invoicing.invoice
WHERE cycle_id = %(cycle_id)s AND origin = 'monthly' AND state = 'issued'
GROUP BY currency ORDER BY count(*) DESC, currency;

-- name: decision_counts
SELECT coalesce(reason, 'send') AS outcome, count(*) AS tenants FROM invoicing.decision
WHERE cycle_id = %(cycle_id)s AND superseded_at IS NULL
GROUP BY 1;

-- name: delivery_counts
SELECT state, count(*) AS deliveries FROM invoicing.delivery WHERE cycle_id = %(cycle_id)s GROUP BY state;

-- name: unissued
SELECT l.code AS lease, t.code AS tenant, u.total, u.currency
FROM invoicing.unissued_invoice AS u
JOIN invoicing.lease AS l ON l.id = u.lease_id
JOIN invoicing.tenant AS t ON t.id = l.tenant_id
WHERE u.cycle_id = %(cycle_id)s ORDER BY l.code;

-- name: unissued_clear
DELETE FROM invoicing.unissued_invoice WHERE cycle_id = %(cycle_id)s;

-- name: unissued_add
INSERT INTO invoicing.unissued_invoice (cycle_id, lease_id, run_id, total, currency)
VALUES (%(cycle_id)s, %(lease_id)s, %(run_id)s, %(total)s, %(currency)s);

-- name: analyze
-- A month's rows came at once: without fresh statistics the next statement is planned for an empty table.
ANALYZE invoicing.invoice, invoicing.invoice_line, invoicing.invoice_count, invoicing.decision, invoicing.delivery,
    invoicing.delivery_invoice;

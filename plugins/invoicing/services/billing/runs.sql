-- name: open_cycle
INSERT INTO invoicing.billing_cycle (period) VALUES (%(period)s)
ON CONFLICT (period) DO UPDATE SET state = 'open', closed_at = NULL
RETURNING id;

-- name: find_cycle
SELECT id FROM invoicing.billing_cycle WHERE period = %(period)s;

-- name: period_of_dag_run
-- Kept from another change until the caller's transaction ends.
SELECT c.period FROM invoicing.cycle_run AS r JOIN invoicing.billing_cycle AS c ON c.id = r.cycle_id
WHERE r.dag_id = %(dag_id)s AND r.dag_run_id = %(dag_run_id)s FOR UPDATE OF r;

-- name: open_run
-- A run that is cleared from its start takes a new snapshot: it does everything anew.
INSERT INTO invoicing.cycle_run
    (cycle_id, dag_id, dag_run_id, settings_version_id, template_version_id, code_version, started_via, started_by)
VALUES (%(cycle_id)s, %(dag_id)s, %(dag_run_id)s, %(settings_version_id)s, %(template_version_id)s, %(code_version)s,
        %(started_via)s, %(started_by)s)
ON CONFLICT (dag_id, dag_run_id) DO UPDATE SET
    cycle_id = EXCLUDED.cycle_id, settings_version_id = EXCLUDED.settings_version_id,
    template_version_id = EXCLUDED.template_version_id, code_version = EXCLUDED.code_version,
    state = 'running', counts = '{}', started_at = now(),
    generated_at = NULL, counted_at = NULL, decided_at = NULL, ended_at = NULL
RETURNING id;

-- name: load_run
SELECT r.id, r.cycle_id, c.period, r.dag_id, r.dag_run_id, r.settings_version_id, r.template_version_id
FROM invoicing.cycle_run AS r
LEFT JOIN invoicing.billing_cycle AS c ON c.id = r.cycle_id
WHERE r.id = %(run_id)s;

-- name: find_run
SELECT id FROM invoicing.cycle_run WHERE dag_id = %(dag_id)s AND dag_run_id = %(dag_run_id)s;

-- name: lock_cycle
-- Two runs of one period take turns, task by task.
SELECT id FROM invoicing.billing_cycle WHERE id = %(cycle_id)s FOR UPDATE;

-- name: lock_month
SELECT id FROM invoicing.billing_cycle WHERE period = %(period)s FOR UPDATE;

-- name: lock_single_invoices
SELECT pg_advisory_xact_lock(hashtext('invoicing.single_invoices'));

-- name: finish_generating
UPDATE invoicing.cycle_run SET generated_at = now(), counts = counts || %(counts)s WHERE id = %(run_id)s;

-- name: finish_counting
UPDATE invoicing.cycle_run SET counted_at = now(), counts = counts || %(counts)s WHERE id = %(run_id)s;

-- name: finish_deciding
UPDATE invoicing.cycle_run SET decided_at = now(), counts = counts || %(counts)s WHERE id = %(run_id)s;

-- name: analyze
-- A month's rows came at once: without fresh statistics the next statement is planned for an empty table.
SELECT invoicing.analyze_month(%(stage)s);

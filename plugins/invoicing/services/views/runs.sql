-- name: run_by_dag_run
SELECT r.id, r.dag_id, r.dag_run_id, r.state, r.started_at, r.ended_at, c.period
FROM invoicing.cycle_run AS r LEFT JOIN invoicing.billing_cycle AS c ON c.id = r.cycle_id
WHERE r.dag_id = %(dag_id)s AND r.dag_run_id = %(dag_run_id)s;

-- name: run_by_id
SELECT r.id, r.dag_id, r.dag_run_id, r.state, r.started_at, r.ended_at, c.period
FROM invoicing.cycle_run AS r LEFT JOIN invoicing.billing_cycle AS c ON c.id = r.cycle_id
WHERE r.id = %(id)s;

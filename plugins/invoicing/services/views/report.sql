-- name: runs_of_cycle
SELECT id, dag_id, dag_run_id, state, started_at, ended_at, settings_version_id, template_version_id,
       code_version, counts, started_via, started_by
FROM invoicing.cycle_run WHERE cycle_id = %(cycle_id)s ORDER BY started_at;

-- name: decisions_of_cycle
SELECT t.code AS tenant, t.name, d.invoice_count AS invoices, d.reason, d.trace, d.decided_at, d.tenant_id
FROM invoicing.decision AS d JOIN invoicing.tenant AS t ON t.id = d.tenant_id
WHERE d.cycle_id = %(cycle_id)s AND d.superseded_at IS NULL
ORDER BY t.code;

-- name: invoices_of_cycle
-- Those of the monthly job, what replaced them, and their credit notes.
SELECT i.id, i.number, l.code AS lease, t.code AS tenant, i.period, i.subtotal, i.tax, i.withholding, i.total,
       i.currency, i.issued_on, i.due_on, i.state, i.kind, o.number AS corrects, r.number AS replaced_by, p.number AS replaces
FROM invoicing.invoice AS i
JOIN invoicing.tenant AS t ON t.id = i.tenant_id
LEFT JOIN invoicing.lease AS l ON l.id = i.lease_id
LEFT JOIN invoicing.invoice AS o ON o.id = i.corrects
LEFT JOIN invoicing.invoice AS r ON r.replaces = i.id
LEFT JOIN invoicing.invoice AS p ON p.id = i.replaces
WHERE i.cycle_id = %(cycle_id)s
ORDER BY i.series, i.serial;

-- name: deliveries
SELECT d.id, d.period, t.code AS tenant, t.name AS tenant_name, d.state, d.generation, d.purpose, d.message_id,
       d.to_addresses, d.cc_addresses, d.attempts, d.last_reply, d.actor, d.reason, d.created_at, d.updated_at,
       d.claimed_by, d.cycle_id, d.tenant_id, d.resend_of, d.doubt_resends,
       array(SELECT i.number FROM invoicing.delivery_invoice AS di
             JOIN invoicing.invoice AS i ON i.id = di.invoice_id
             WHERE di.delivery_id = d.id AND (i.state <> 'void' OR d.state = 'cancelled')
             ORDER BY i.series, i.serial) AS invoices
FROM invoicing.delivery AS d JOIN invoicing.tenant AS t ON t.id = d.tenant_id
WHERE (%(period)s::text IS NULL OR d.period = %(period)s)
  AND (%(state)s::text IS NULL OR d.state = %(state)s)
  AND d.id > %(after)s
ORDER BY d.id LIMIT %(limit)s;

-- name: invoice_by_number
SELECT i.id, i.number, i.origin, i.reference, i.period, i.cycle_id, t.code AS tenant, i.tenant_name, l.code AS lease, i.property,
       i.property_city, i.issued_on, i.due_on, i.subtotal, i.tax, i.withholding, i.total, i.currency, i.state,
       i.kind, o.number AS corrects, r.number AS replaced_by, p.number AS replaces,
       i.settings_version_id, doc.sha256, doc.size_bytes, doc.rendered_at, v.name AS template_name, v.version AS template_number
FROM invoicing.invoice AS i
JOIN invoicing.tenant AS t ON t.id = i.tenant_id
LEFT JOIN invoicing.lease AS l ON l.id = i.lease_id
LEFT JOIN invoicing.invoice AS o ON o.id = i.corrects
LEFT JOIN invoicing.invoice AS r ON r.replaces = i.id
LEFT JOIN invoicing.invoice AS p ON p.id = i.replaces
LEFT JOIN invoicing.invoice_document AS doc ON doc.invoice_id = i.id
LEFT JOIN invoicing.template_version AS v ON v.id = doc.template_version_id
WHERE i.number = %(number)s;

-- name: corrections_of_invoice
SELECT c.act, m.number AS made, m.total, m.currency, c.reason, c.actor, c.at FROM invoicing.invoice_correction AS c
LEFT JOIN invoicing.invoice AS m ON m.id = c.made_id
WHERE c.invoice_id = %(id)s ORDER BY c.id;

-- name: lines_of_invoice
SELECT l.position, l.concept, l.description, l.amount, l.tax, l.tax_rate, l.amount - coalesce((
    SELECT sum(c.amount) FROM invoicing.invoice AS n JOIN invoicing.invoice_line AS c ON c.invoice_id = n.id
    WHERE n.corrects = l.invoice_id AND c.position = l.position), 0) AS left
FROM invoicing.invoice_line AS l WHERE l.invoice_id = %(id)s ORDER BY l.position;

-- name: deliveries_of_invoice
SELECT d.id, d.state, d.purpose, d.updated_at, d.to_addresses, d.period, d.cycle_id
FROM invoicing.delivery_invoice AS di JOIN invoicing.delivery AS d ON d.id = di.delivery_id
WHERE di.invoice_id = %(id)s ORDER BY d.id DESC;

-- name: single_invoices_found
-- Invoices made outside the monthly job, each with what was decided and its newest delivery.
SELECT count(*) OVER () AS total, i.number, i.reference, i.issued_on, i.due_on, i.total AS amount, i.currency, t.code AS tenant, t.name,
       x.id AS decision_id, x.reason, x.trace, d.id AS delivery_id, d.state, d.purpose, d.attempts, d.last_reply, d.updated_at
FROM invoicing.invoice AS i
JOIN invoicing.tenant AS t ON t.id = i.tenant_id
LEFT JOIN invoicing.decision AS x ON x.invoice_id = i.id AND x.superseded_at IS NULL
LEFT JOIN LATERAL (
    SELECT d.* FROM invoicing.delivery_invoice AS di JOIN invoicing.delivery AS d ON d.id = di.delivery_id
    WHERE di.invoice_id = i.id ORDER BY d.id DESC LIMIT 1
) AS d ON true
WHERE i.origin = 'single' AND (%(patterns)s::text[] = '{}' OR t.words || ' ' || lower(i.number || ' ' || i.reference) LIKE ALL (%(patterns)s))
ORDER BY i.id DESC LIMIT %(limit)s OFFSET %(offset)s;

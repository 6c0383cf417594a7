-- name: invoices_by_number
SELECT id, number, kind, origin, period, cycle_id, state FROM invoicing.invoice WHERE number = ANY(%(numbers)s);

-- name: lock_invoice
-- Another correction of it, and whoever voids it, waits; whoever only refers to it does not.
SELECT i.id, i.number, i.kind, i.origin, i.period, i.cycle_id, i.state, i.currency, i.total, i.sent_apart,
       i.tenant_id, t.code AS tenant_code, i.tenant_name, i.tenant_document_type, i.tenant_document_number, i.tenant_city,
       i.language, i.lease_id, l.code AS lease_code, i.property, i.property_city, i.use,
       (SELECT coalesce(sum(c.total), 0) FROM invoicing.invoice AS c WHERE c.corrects = i.id) AS credited,
       (SELECT r.number FROM invoicing.invoice AS r WHERE r.replaces = i.id) AS replaced_by
FROM invoicing.invoice AS i
JOIN invoicing.tenant AS t ON t.id = i.tenant_id
LEFT JOIN invoicing.lease AS l ON l.id = i.lease_id
WHERE i.number = %(number)s
FOR NO KEY UPDATE OF i;

-- name: lines_of_invoice
SELECT l.position, l.concept, l.description, l.amount, l.tax_rate, l.tax, l.active_days, l.period_days,
       coalesce(sum(c.amount), 0) AS credited, coalesce(sum(c.tax), 0) AS credited_tax
FROM invoicing.invoice_line AS l
LEFT JOIN (
    invoicing.invoice AS n JOIN invoicing.invoice_line AS c ON c.invoice_id = n.id
) ON n.corrects = l.invoice_id AND c.position = l.position
WHERE l.invoice_id = %(id)s
GROUP BY l.invoice_id, l.position ORDER BY l.position;

-- name: withholdings_of_invoice
SELECT w.tax, w.rate, w.base, w.amount, coalesce(sum(c.amount), 0) AS credited, coalesce(sum(c.base), 0) AS credited_base
FROM invoicing.invoice_withholding AS w
LEFT JOIN (
    invoicing.invoice AS n JOIN invoicing.invoice_withholding AS c ON c.invoice_id = n.id
) ON n.corrects = w.invoice_id AND c.tax = w.tax
WHERE w.invoice_id = %(id)s
GROUP BY w.invoice_id, w.tax ORDER BY w.tax;

-- name: set_state
UPDATE invoicing.invoice SET state = %(state)s WHERE id = %(id)s AND state <> %(state)s;

-- name: add_correction
INSERT INTO invoicing.invoice_correction (invoice_id, act, made_id, reason, actor)
VALUES (%(invoice_id)s, %(act)s, %(made_id)s, %(reason)s, %(actor)s);

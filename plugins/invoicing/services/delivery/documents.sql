-- name: invoices_by_id
SELECT i.id, i.number, i.cycle_id IS NOT NULL AS is_of_month, i.language, i.settings_version_id, i.period, i.property, i.property_city, i.use, i.subtotal,
       i.tax, i.withholding, i.total, i.currency, i.issued_on, i.due_on, i.state, i.tenant_name, i.tenant_document_type,
       i.tenant_document_number, i.tenant_city, l.code AS lease_code, t.code AS tenant_code,
       o.number AS corrects, o.issued_on AS corrects_on, r.number AS replaces
FROM invoicing.invoice AS i
JOIN invoicing.tenant AS t ON t.id = i.tenant_id
LEFT JOIN invoicing.lease AS l ON l.id = i.lease_id
LEFT JOIN invoicing.invoice AS o ON o.id = i.corrects
-- One that nobody was sent is not spoken of.
LEFT JOIN invoicing.invoice AS r ON r.id = i.replaces AND i.sent_apart AND r.state = 'credited'
WHERE i.id = ANY(%(ids)s) ORDER BY i.series, i.serial;

-- name: lines_of_invoices
SELECT invoice_id, concept, description, amount, tax_rate, tax, active_days, period_days
FROM invoicing.invoice_line WHERE invoice_id = ANY(%(ids)s) ORDER BY invoice_id, position;

-- name: withholdings_of_invoices
SELECT invoice_id, tax, rate, base, amount FROM invoicing.invoice_withholding
WHERE invoice_id = ANY(%(ids)s) ORDER BY invoice_id, tax;

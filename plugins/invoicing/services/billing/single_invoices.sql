-- name: numbers_of_references
SELECT reference, number FROM invoicing.invoice WHERE reference = ANY(%(references)s);

-- name: lines_of_reference
SELECT t.code AS tenant, l.code AS lease, n.description, n.amount, n.tax_rate > 0 AS is_taxed
FROM invoicing.invoice AS i
JOIN invoicing.tenant AS t ON t.id = i.tenant_id
LEFT JOIN invoicing.lease AS l ON l.id = i.lease_id
JOIN invoicing.invoice_line AS n ON n.invoice_id = i.id
WHERE i.reference = %(reference)s ORDER BY n.position;

-- name: decisions_of_references
-- Single invoices by their references; what corrections made, which has none, by its number.
SELECT coalesce(i.reference, i.number) AS reference, d.id IS NOT NULL AS is_decided, d.reason
FROM invoicing.invoice AS i
LEFT JOIN invoicing.decision AS d ON d.invoice_id = i.id AND d.superseded_at IS NULL
WHERE i.origin = 'single' AND i.reference = ANY(%(references)s)
   OR (i.origin = 'correction' OR i.sent_apart) AND i.number = ANY(%(references)s);

-- name: supersede_skipped
UPDATE invoicing.decision AS d SET superseded_at = now()
FROM invoicing.invoice AS i
WHERE i.id = d.invoice_id AND coalesce(i.reference, i.number) = ANY(%(references)s) AND d.superseded_at IS NULL AND d.reason IS NOT NULL;

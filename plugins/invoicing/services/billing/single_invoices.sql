-- name: numbers_of_references
SELECT reference, number FROM invoicing.invoice WHERE reference = ANY(%(references)s);

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

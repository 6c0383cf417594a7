-- name: invoices_by_id
SELECT i.*, l.code AS lease_code, t.code AS tenant_code
FROM invoicing.invoice AS i
JOIN invoicing.tenant AS t ON t.id = i.tenant_id
LEFT JOIN invoicing.lease AS l ON l.id = i.lease_id
WHERE i.id = ANY(%(ids)s) ORDER BY i.series, i.serial;

-- name: lines_of_invoices
SELECT * FROM invoicing.invoice_line WHERE invoice_id = ANY(%(ids)s) ORDER BY invoice_id, position;

-- name: withholdings_of_invoices
SELECT * FROM invoicing.invoice_withholding WHERE invoice_id = ANY(%(ids)s) ORDER BY invoice_id, tax;

-- name: documents
SELECT * FROM invoicing.invoice_document WHERE invoice_id = ANY(%(ids)s);

-- name: invoices_without_document
SELECT DISTINCT di.invoice_id, i.number FROM invoicing.delivery_invoice AS di
JOIN invoicing.delivery AS d ON d.id = di.delivery_id
JOIN invoicing.invoice AS i ON i.id = di.invoice_id
WHERE di.delivery_id = ANY(%(delivery_ids)s) AND d.state IN ('pending', 'claimed', 'failed')
  AND NOT EXISTS (SELECT FROM invoicing.invoice_document AS doc WHERE doc.invoice_id = di.invoice_id)
ORDER BY di.invoice_id;

-- name: add_document
-- The first to finish wins: the same bytes are sent ever after.
INSERT INTO invoicing.invoice_document (invoice_id, uri, sha256, size_bytes, template_version_id)
VALUES (%(invoice_id)s, %(uri)s, %(sha256)s, %(size_bytes)s, %(template_version_id)s)
ON CONFLICT (invoice_id) DO NOTHING;

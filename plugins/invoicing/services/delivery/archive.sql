-- name: invoice_to_keep
SELECT number, period FROM invoicing.invoice WHERE id = %(id)s;

-- name: add_document
-- The first to finish wins: the same bytes are sent ever after.
INSERT INTO invoicing.invoice_document (invoice_id, uri, sha256, size_bytes, template_version_id)
VALUES (%(invoice_id)s, %(uri)s, %(sha256)s, %(size_bytes)s, %(template_version_id)s)
ON CONFLICT (invoice_id) DO NOTHING;

-- name: documents
-- One row per invoice, with the document that is kept of it, if any.
SELECT i.number, doc.uri, doc.sha256
FROM invoicing.invoice AS i
LEFT JOIN invoicing.invoice_document AS doc ON doc.invoice_id = i.id
WHERE i.id = ANY(%(ids)s) ORDER BY i.series, i.serial;

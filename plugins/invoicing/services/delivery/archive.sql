-- name: is_in_use
-- Whether documents are known to be under the archive's root. One that had an absolute address once may be elsewhere.
SELECT EXISTS (
    SELECT FROM invoicing.invoice_document AS doc
    WHERE doc.former_uri IS NULL OR starts_with(doc.former_uri, %(root)s || '/')) AS is_in_use;

-- name: add_document
-- The first to finish wins: the same bytes are sent ever after.
INSERT INTO invoicing.invoice_document (invoice_id, key, sha256, size_bytes, template_version_id)
VALUES (%(invoice_id)s, %(key)s, %(sha256)s, %(size_bytes)s, %(template_version_id)s)
ON CONFLICT (invoice_id) DO NOTHING;

-- name: documents
-- One row per invoice, with the document that is kept of it, if any.
SELECT i.number, doc.key, doc.former_uri, doc.sha256
FROM invoicing.invoice AS i
LEFT JOIN invoicing.invoice_document AS doc ON doc.invoice_id = i.id
WHERE i.id = ANY(%(ids)s) ORDER BY i.series, i.serial;

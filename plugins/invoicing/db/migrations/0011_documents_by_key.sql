-- Documents are kept by their key under the archive's root, so that the archive can move. What has an absolute address keeps
-- it beside the key, and is read there where it is not under the root; one whose address has another shape has no key.

ALTER TABLE invoicing.invoice_document RENAME COLUMN uri TO former_uri;
ALTER TABLE invoicing.invoice_document ALTER COLUMN former_uri DROP NOT NULL;
ALTER TABLE invoicing.invoice_document ADD COLUMN key text;

ALTER TABLE invoicing.invoice_document DISABLE TRIGGER invoice_document_is_immutable;
UPDATE invoicing.invoice_document AS doc SET key = named.key
FROM (
    SELECT i.id, i.period || '/' || left(d.sha256, 12) || '-' || i.number || '.pdf' AS key
    FROM invoicing.invoice AS i JOIN invoicing.invoice_document AS d ON d.invoice_id = i.id
) AS named
WHERE named.id = doc.invoice_id AND right(doc.former_uri, length(named.key) + 1) = '/' || named.key;
ALTER TABLE invoicing.invoice_document ENABLE TRIGGER invoice_document_is_immutable;

ALTER TABLE invoicing.invoice_document
    ADD CONSTRAINT invoice_document_is_somewhere CHECK (key IS NOT NULL OR former_uri IS NOT NULL),
    ADD CONSTRAINT invoice_document_key_is_relative CHECK (key NOT LIKE '/%' AND key NOT LIKE '%:%');
COMMENT ON TABLE invoicing.invoice_document IS
    'The PDF of an invoice: its key under the archive''s root, and its SHA-256. Immutable.';

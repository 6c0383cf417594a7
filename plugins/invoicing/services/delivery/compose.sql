-- name: carried_invoices
-- One row per invoice that a delivery carries, with what is kept of its document; a voided one has left it. `left` is what
-- the invoice that a note corrects came to after it: by the notes up to each, which are final, whatever came later.
SELECT i.number, i.cycle_id IS NOT NULL AS is_of_month, i.period, i.language, t.code AS tenant_code, i.tenant_name,
       i.tenant_document_type, i.tenant_document_number, i.tenant_city, i.property, i.total, i.currency, i.due_on,
       o.number AS corrects, o.total - (
           SELECT sum(earlier.total) FROM invoicing.invoice AS earlier
           WHERE earlier.corrects = o.id AND earlier.id <= i.id
       ) AS left,
       r.number AS replaces, doc.key, doc.former_uri, doc.sha256
FROM invoicing.delivery_invoice AS di
JOIN invoicing.invoice AS i ON i.id = di.invoice_id
JOIN invoicing.tenant AS t ON t.id = i.tenant_id
LEFT JOIN invoicing.invoice AS o ON o.id = i.corrects
-- One that nobody was sent is not spoken of.
LEFT JOIN invoicing.invoice AS r ON r.id = i.replaces AND i.sent_apart AND r.state = 'credited'
LEFT JOIN invoicing.invoice_document AS doc ON doc.invoice_id = i.id
WHERE di.delivery_id = %(id)s AND i.state <> 'void' ORDER BY i.series, i.serial;

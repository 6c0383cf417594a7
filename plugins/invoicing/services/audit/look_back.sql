-- name: figures
SELECT count(*) AS entries FROM invoicing.history_link;

-- name: documents
SELECT invoice_id FROM invoicing.invoice_document ORDER BY invoice_id;

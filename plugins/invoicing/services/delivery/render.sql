-- name: invoices_without_document
SELECT DISTINCT di.invoice_id, i.number, i.period FROM invoicing.delivery_invoice AS di
JOIN invoicing.delivery AS d ON d.id = di.delivery_id
JOIN invoicing.invoice AS i ON i.id = di.invoice_id
WHERE di.delivery_id = ANY(%(delivery_ids)s) AND d.state IN ('pending', 'claimed', 'failed') AND i.state <> 'void'
  AND NOT EXISTS (SELECT FROM invoicing.invoice_document AS doc WHERE doc.invoice_id = di.invoice_id)
ORDER BY di.invoice_id;

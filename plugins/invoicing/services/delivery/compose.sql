-- name: invoice_ids_of_delivery
SELECT di.invoice_id FROM invoicing.delivery_invoice AS di
JOIN invoicing.invoice AS i ON i.id = di.invoice_id
WHERE di.delivery_id = %(id)s ORDER BY i.series, i.serial;

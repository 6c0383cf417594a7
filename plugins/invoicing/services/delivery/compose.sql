-- name: invoice_ids_of_delivery
-- A voided one has left it.
SELECT di.invoice_id FROM invoicing.delivery_invoice AS di
JOIN invoicing.invoice AS i ON i.id = di.invoice_id
WHERE di.delivery_id = %(id)s AND i.state <> 'void' ORDER BY i.series, i.serial;

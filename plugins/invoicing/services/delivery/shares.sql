-- name: recipients
-- What these deliveries cost: the documents that each carries, and those of them that nobody has rendered yet.
SELECT d.id, t.code, t.name, count(di.invoice_id) AS documents,
       count(di.invoice_id) FILTER (WHERE doc.invoice_id IS NULL) AS lacking
FROM invoicing.delivery AS d
JOIN invoicing.tenant AS t ON t.id = d.tenant_id
LEFT JOIN invoicing.delivery_invoice AS di ON di.delivery_id = d.id
LEFT JOIN invoicing.invoice_document AS doc ON doc.invoice_id = di.invoice_id
WHERE d.id = ANY(%(ids)s)
GROUP BY d.id, t.code, t.name
ORDER BY t.code, d.id;

-- name: tenants_of_invoices
SELECT t.code, t.name, array_agg(i.id ORDER BY i.id) AS invoice_ids
FROM invoicing.invoice AS i JOIN invoicing.tenant AS t ON t.id = i.tenant_id
WHERE i.id = ANY(%(ids)s)
GROUP BY t.code, t.name ORDER BY t.code;

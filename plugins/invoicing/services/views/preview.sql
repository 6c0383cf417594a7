-- name: tenant_to_show
SELECT id, code, name, document_type, document_number, city, language
FROM invoicing.tenant WHERE code = %(code)s;

-- name: invoices_to_show
SELECT id FROM invoicing.invoice
WHERE tenant_id = %(tenant_id)s AND period = %(period)s AND origin = 'monthly' AND stands
ORDER BY series, serial LIMIT %(limit)s;

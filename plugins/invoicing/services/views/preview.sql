-- name: tenant_to_show
SELECT id, code, name, document_type, document_number, city, language, withholding_agent
FROM invoicing.tenant WHERE code = %(code)s;

-- name: invoices_to_show
SELECT id FROM invoicing.invoice
WHERE tenant_id = %(tenant_id)s AND period = %(period)s AND origin = 'monthly' AND state = 'issued'
ORDER BY series, serial LIMIT %(limit)s;

-- name: leases_to_show
SELECT id, code, property, city, use, start_date, end_date, rent, currency
FROM invoicing.lease
WHERE tenant_id = %(tenant_id)s AND start_date <= %(last_day)s AND (end_date IS NULL OR end_date >= %(first_day)s)
ORDER BY code LIMIT %(limit)s;

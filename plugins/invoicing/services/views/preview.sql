-- name: tenant_to_show
SELECT id, code, name, document_type, document_number, city, language
FROM invoicing.tenant WHERE code = %(code)s;

-- name: tenants_by_words
-- By code; what has all the words in it.
SELECT id, code, name, document_type, document_number, city, language
FROM invoicing.tenant
WHERE invoicing.has_words(words, %(patterns)s::text[]) ORDER BY code LIMIT %(limit)s;

-- name: tenants_by_name
SELECT id, code, name, document_type, document_number, city, language
FROM invoicing.tenant WHERE lower(name) = lower(%(name)s) ORDER BY code LIMIT %(limit)s;

-- name: invoices_to_show
SELECT id FROM invoicing.invoice
WHERE tenant_id = %(tenant_id)s AND period = %(period)s AND origin = 'monthly' AND stands
ORDER BY series, serial LIMIT %(limit)s;

-- name: tenant_by_code
SELECT id, code, name FROM invoicing.tenant WHERE code = %(code)s;

-- name: tenants_by_words
SELECT id, code, name FROM invoicing.tenant WHERE invoicing.has_words(words, %(patterns)s::text[])
ORDER BY plain_name, code LIMIT %(limit)s;

-- name: leases_of_tenant
SELECT code, property, currency FROM invoicing.lease WHERE tenant_id = %(id)s ORDER BY code LIMIT 200;

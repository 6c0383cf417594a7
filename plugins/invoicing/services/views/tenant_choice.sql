-- name: tenant_by_code
SELECT id, code, name FROM invoicing.tenant WHERE code = %(code)s;

-- name: tenants_by_words
-- The first two patterns by themselves, for an index of trigrams.
SELECT id, code, name FROM invoicing.tenant
WHERE words LIKE coalesce((%(patterns)s::text[])[1], '%%') AND words LIKE coalesce((%(patterns)s::text[])[2], '%%')
  AND words LIKE ALL (%(patterns)s::text[])
ORDER BY plain_name, code LIMIT %(limit)s;

-- name: leases_of_tenant
SELECT code, property, currency FROM invoicing.lease WHERE tenant_id = %(id)s ORDER BY code LIMIT 200;

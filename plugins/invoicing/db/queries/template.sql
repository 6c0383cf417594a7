-- name: templates
-- The newest version of each template, and how many there are of it.
SELECT DISTINCT ON (name) id, name, version, actor, created_at,
       count(*) OVER (PARTITION BY name) AS versions
FROM invoicing.template_version
ORDER BY name, version DESC;

-- name: versions
-- Newest first, with the cycles whose runs used each.
SELECT v.id, v.version, v.actor, v.created_at,
       array(SELECT DISTINCT c.period::text FROM invoicing.cycle_run AS r
             JOIN invoicing.billing_cycle AS c ON c.id = r.cycle_id
             WHERE r.template_version_id = v.id ORDER BY 1 DESC LIMIT 6) AS periods
FROM invoicing.template_version AS v
WHERE v.name = %(name)s
ORDER BY v.version DESC LIMIT %(limit)s;

-- name: version_of
SELECT id, name, version, parts, actor, created_at FROM invoicing.template_version
WHERE name = %(name)s AND version = %(version)s;

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

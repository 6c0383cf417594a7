-- name: leases_to_invoice
-- Active for at least one day of the period, and never invoiced for it: what was voided or credited is replaced by a person.
SELECT l.id, l.code, l.property, l.city, l.use, l.start_date, l.end_date, l.rent, l.currency,
       t.id AS tenant_id, t.code AS tenant_code, t.name AS tenant_name, t.document_type, t.document_number,
       t.city AS tenant_city, t.language, t.withholding_agent
FROM invoicing.lease AS l JOIN invoicing.tenant AS t ON t.id = l.tenant_id
WHERE l.start_date <= %(last_day)s AND (l.end_date IS NULL OR l.end_date >= %(first_day)s)
  AND NOT EXISTS (
      SELECT FROM invoicing.invoice AS i
      WHERE i.lease_id = l.id AND i.period = %(period)s AND i.origin = 'monthly')
ORDER BY l.code LIMIT %(limit)s;

-- name: count_to_invoice
SELECT count(*) AS leases FROM invoicing.lease AS l
WHERE l.start_date <= %(last_day)s AND (l.end_date IS NULL OR l.end_date >= %(first_day)s)
  AND NOT EXISTS (
      SELECT FROM invoicing.invoice AS i
      WHERE i.lease_id = l.id AND i.period = %(period)s AND i.origin = 'monthly');

-- name: leases_of_tenant
SELECT l.id, l.code, l.property, l.city, l.use, l.start_date, l.end_date, l.rent, l.currency,
       t.id AS tenant_id, t.code AS tenant_code, t.name AS tenant_name, t.document_type, t.document_number,
       t.city AS tenant_city, t.language, t.withholding_agent
FROM invoicing.lease AS l JOIN invoicing.tenant AS t ON t.id = l.tenant_id
WHERE t.id = %(tenant_id)s AND l.start_date <= %(last_day)s AND (l.end_date IS NULL OR l.end_date >= %(first_day)s)
ORDER BY l.code LIMIT %(limit)s;

-- name: leases_by_code
SELECT l.id, l.code, l.property, l.city, l.use, l.start_date, l.end_date, l.rent, l.currency,
       t.id AS tenant_id, t.code AS tenant_code, t.name AS tenant_name, t.document_type, t.document_number,
       t.city AS tenant_city, t.language, t.withholding_agent
FROM invoicing.lease AS l JOIN invoicing.tenant AS t ON t.id = l.tenant_id
WHERE l.code = ANY(%(codes)s);

-- name: leases_by_id
SELECT l.id, l.code, l.property, l.city, l.use, l.start_date, l.end_date, l.rent, l.currency,
       t.id AS tenant_id, t.code AS tenant_code, t.name AS tenant_name, t.document_type, t.document_number,
       t.city AS tenant_city, t.language, t.withholding_agent
FROM invoicing.lease AS l JOIN invoicing.tenant AS t ON t.id = l.tenant_id
WHERE l.id = ANY(%(ids)s);

-- name: tenants_by_code
SELECT id, code, name, document_type, document_number, city, language
FROM invoicing.tenant WHERE code = ANY(%(codes)s);

-- name: charges_due
-- In the order of their file, which is that of an invoice's lines.
SELECT lease_id, concept, description, amount, tax, prorated
FROM invoicing.charge
WHERE lease_id = ANY(%(lease_ids)s)
  AND (from_period IS NULL OR from_period <= %(period)s) AND (to_period IS NULL OR to_period >= %(period)s)
ORDER BY lease_id, id;

-- name: tax_rates_in_force
SELECT tax, city, rate, minimum_base, valid_from, valid_to FROM invoicing.tax_rate
WHERE valid_from <= %(day)s AND (valid_to IS NULL OR valid_to >= %(day)s);

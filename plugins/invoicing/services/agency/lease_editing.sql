-- name: lease
SELECT l.id, l.code, t.code AS tenant_code, t.name AS tenant_name, l.property, l.city, l.use, l.start_date, l.end_date,
       l.rent, l.currency, l.updated_at
FROM invoicing.lease AS l JOIN invoicing.tenant AS t ON t.id = l.tenant_id
WHERE l.code = %(code)s;

-- name: charges_of_lease
-- In the order of an invoice's lines.
SELECT concept, description, amount, tax, prorated, from_period, to_period
FROM invoicing.charge WHERE lease_id = %(id)s ORDER BY id;

-- name: changes_of_lease
SELECT at, actor, action, details FROM invoicing.audit_event
WHERE subject = 'lease ' || %(code)s AND action IN ('lease_created', 'lease_changed', 'lease_overwritten')
ORDER BY id DESC LIMIT 60;

-- name: add_lease
INSERT INTO invoicing.lease (code, tenant_id, property, city, use, start_date, end_date, rent, currency)
SELECT %(lease_code)s, id, %(property)s, %(city)s, %(use)s, %(start_date)s, %(end_date)s, %(rent)s, %(currency)s
FROM invoicing.tenant WHERE code = %(tenant_code)s
ON CONFLICT (code) DO NOTHING RETURNING id;

-- name: change_lease
UPDATE invoicing.lease AS l
SET tenant_id = t.id, property = %(property)s, city = %(city)s, use = %(use)s, start_date = %(start_date)s,
    end_date = %(end_date)s, rent = %(rent)s, currency = %(currency)s, updated_at = clock_timestamp()
FROM invoicing.tenant AS t
WHERE l.id = %(id)s AND t.code = %(tenant_code)s;

-- name: delete_charges
DELETE FROM invoicing.charge WHERE lease_id = %(id)s;

-- name: add_charge
INSERT INTO invoicing.charge (lease_id, concept, description, amount, tax, prorated, from_period, to_period)
VALUES (%(lease_id)s, %(concept)s, %(description)s, %(amount)s, %(tax)s, %(prorated)s, %(from_period)s, %(to_period)s);

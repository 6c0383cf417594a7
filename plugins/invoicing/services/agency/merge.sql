-- name: lock_imports
-- One import at a time. Readers whose several statements must see the same data take it shared.
SELECT pg_advisory_xact_lock(hashtext('invoicing.import'));

-- name: hold_off_imports
SELECT pg_advisory_xact_lock_shared(hashtext('invoicing.import'));

-- name: limit_waiting
SET LOCAL lock_timeout = '60s';

-- name: known_tenants
SELECT code FROM invoicing.tenant WHERE code = ANY(%(codes)s);

-- name: known_leases
SELECT code FROM invoicing.lease WHERE code = ANY(%(codes)s);

-- name: stage_tenants
CREATE TEMPORARY TABLE import_tenant (
    position integer PRIMARY KEY,
    code text NOT NULL UNIQUE,
    document_type text NOT NULL,
    document_number text NOT NULL,
    name text NOT NULL,
    emails text[] NOT NULL,
    cc_emails text[] NOT NULL,
    language text NOT NULL,
    city text NOT NULL,
    withholding_agent boolean NOT NULL,
    auto_send boolean,
    only_multiple boolean
) ON COMMIT DROP;

-- name: copy_tenants
COPY import_tenant (
    position, code, document_type, document_number, name, emails, cc_emails, language, city,
    withholding_agent, auto_send, only_multiple
) FROM STDIN;

-- name: update_tenants
-- Touches only what differs: updated_at says when a tenant last changed. A switch left empty stays as it is.
UPDATE invoicing.tenant AS t
SET document_type = i.document_type,
    document_number = i.document_number,
    name = i.name,
    emails = i.emails,
    cc_emails = i.cc_emails,
    language = i.language,
    city = i.city,
    withholding_agent = i.withholding_agent,
    auto_send = coalesce(i.auto_send, t.auto_send),
    only_multiple = coalesce(i.only_multiple, t.only_multiple),
    updated_at = now()
FROM import_tenant AS i
WHERE t.code = i.code
  AND (t.document_type, t.document_number, t.name, t.emails, t.cc_emails, t.language, t.city,
       t.withholding_agent, t.auto_send, t.only_multiple)
      IS DISTINCT FROM
      (i.document_type, i.document_number, i.name, i.emails, i.cc_emails, i.language, i.city,
       i.withholding_agent, coalesce(i.auto_send, t.auto_send), coalesce(i.only_multiple, t.only_multiple));

-- name: add_tenants
INSERT INTO invoicing.tenant
    (code, document_type, document_number, name, emails, cc_emails, language, city, withholding_agent,
     auto_send, only_multiple)
SELECT i.code, i.document_type, i.document_number, i.name, i.emails, i.cc_emails, i.language, i.city,
       i.withholding_agent, coalesce(i.auto_send, false), coalesce(i.only_multiple, false)
FROM import_tenant AS i
WHERE NOT EXISTS (SELECT FROM invoicing.tenant AS t WHERE t.code = i.code)
ORDER BY i.position;

-- name: stage_leases
CREATE TEMPORARY TABLE import_lease (
    position integer PRIMARY KEY,
    code text NOT NULL UNIQUE,
    tenant_code text NOT NULL,
    property text NOT NULL,
    city text NOT NULL,
    use text NOT NULL,
    start_date date NOT NULL,
    end_date date,
    rent numeric NOT NULL,
    currency text NOT NULL
) ON COMMIT DROP;

-- name: copy_leases
COPY import_lease (position, code, tenant_code, property, city, use, start_date, end_date, rent, currency)
FROM STDIN;

-- name: update_leases
UPDATE invoicing.lease AS l
SET tenant_id = t.id,
    property = i.property,
    city = i.city,
    use = i.use,
    start_date = i.start_date,
    end_date = i.end_date,
    rent = i.rent,
    currency = i.currency,
    updated_at = now()
FROM import_lease AS i
JOIN invoicing.tenant AS t ON t.code = i.tenant_code
WHERE l.code = i.code
  AND (l.tenant_id, l.property, l.city, l.use, l.start_date, l.end_date, l.rent, l.currency)
      IS DISTINCT FROM (t.id, i.property, i.city, i.use, i.start_date, i.end_date, i.rent, i.currency);

-- name: add_leases
INSERT INTO invoicing.lease (code, tenant_id, property, city, use, start_date, end_date, rent, currency)
SELECT i.code, t.id, i.property, i.city, i.use, i.start_date, i.end_date, i.rent, i.currency
FROM import_lease AS i
JOIN invoicing.tenant AS t ON t.code = i.tenant_code
WHERE NOT EXISTS (SELECT FROM invoicing.lease AS l WHERE l.code = i.code)
ORDER BY i.position;

-- name: stage_charges
CREATE TEMPORARY TABLE import_charge (
    position integer PRIMARY KEY,
    lease_code text NOT NULL,
    concept text NOT NULL,
    description text NOT NULL,
    amount numeric NOT NULL,
    tax text NOT NULL,
    prorated boolean NOT NULL,
    from_period invoicing.period,
    to_period invoicing.period
) ON COMMIT DROP;

-- name: copy_charges
COPY import_charge (position, lease_code, concept, description, amount, tax, prorated, from_period, to_period)
FROM STDIN;

-- name: compare_charges
-- `kept` rows are in the table already, as often as they are in both; `in_place` ones are so in the same order.
WITH earlier AS (
    SELECT row_number() OVER (ORDER BY c.id) AS position, l.code, c.concept, c.description, c.amount, c.tax,
           c.prorated, c.from_period, c.to_period
    FROM invoicing.charge AS c JOIN invoicing.lease AS l ON l.id = c.lease_id
), later AS (
    SELECT row_number() OVER (ORDER BY position) AS position, lease_code AS code, concept, description, amount,
           tax, prorated, from_period, to_period
    FROM import_charge
)
SELECT (SELECT count(*) FROM earlier) AS earlier,
       (SELECT count(*) FROM (SELECT * FROM earlier INTERSECT SELECT * FROM later) AS same) AS in_place,
       (SELECT count(*) FROM (
            SELECT code, concept, description, amount, tax, prorated, from_period, to_period FROM earlier
            INTERSECT ALL
            SELECT code, concept, description, amount, tax, prorated, from_period, to_period FROM later
        ) AS same) AS kept;

-- name: delete_charges
DELETE FROM invoicing.charge;

-- name: add_charges
-- In the file's order, which is that of an invoice's lines.
INSERT INTO invoicing.charge (lease_id, concept, description, amount, tax, prorated, from_period, to_period)
SELECT l.id, i.concept, i.description, i.amount, i.tax, i.prorated, i.from_period, i.to_period
FROM import_charge AS i JOIN invoicing.lease AS l ON l.code = i.lease_code
ORDER BY i.position;

-- name: stage_tax_rates
CREATE TEMPORARY TABLE import_tax_rate (
    position integer PRIMARY KEY,
    tax text NOT NULL,
    city text NOT NULL,
    rate numeric NOT NULL,
    minimum_base numeric NOT NULL,
    valid_from date NOT NULL,
    valid_to date
) ON COMMIT DROP;

-- name: copy_tax_rates
COPY import_tax_rate (position, tax, city, rate, minimum_base, valid_from, valid_to) FROM STDIN;

-- name: compare_tax_rates
-- Their order means nothing: what is kept is in place.
WITH same AS (
    SELECT tax, city, rate, minimum_base, valid_from, valid_to FROM invoicing.tax_rate
    INTERSECT ALL
    SELECT tax, city, rate, minimum_base, valid_from, valid_to FROM import_tax_rate
)
SELECT (SELECT count(*) FROM invoicing.tax_rate) AS earlier,
       (SELECT count(*) FROM same) AS in_place,
       (SELECT count(*) FROM same) AS kept;

-- name: delete_tax_rates
DELETE FROM invoicing.tax_rate;

-- name: add_tax_rates
INSERT INTO invoicing.tax_rate (tax, city, rate, minimum_base, valid_from, valid_to)
SELECT tax, city, rate, minimum_base, valid_from, valid_to FROM import_tax_rate ORDER BY position;

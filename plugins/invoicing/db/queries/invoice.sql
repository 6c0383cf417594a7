-- name: leases_to_invoice
-- Active for at least one day of the period, and without a standing invoice for it.
SELECT l.id, l.code, l.property, l.city, l.use, l.start_date, l.end_date, l.rent, l.currency,
       t.id AS tenant_id, t.name AS tenant_name, t.document_type, t.document_number, t.city AS tenant_city,
       t.language, t.withholding_agent
FROM invoicing.lease AS l JOIN invoicing.tenant AS t ON t.id = l.tenant_id
WHERE l.start_date <= %(last_day)s AND (l.end_date IS NULL OR l.end_date >= %(first_day)s)
  AND NOT EXISTS (
      SELECT FROM invoicing.invoice AS i
      WHERE i.lease_id = l.id AND i.period = %(period)s AND i.origin = 'monthly' AND i.state = 'issued')
ORDER BY l.code;

-- name: charges_due
SELECT lease_id, concept, description, amount, tax, prorated
FROM invoicing.charge
WHERE lease_id = ANY(%(lease_ids)s)
  AND (from_period IS NULL OR from_period <= %(period)s) AND (to_period IS NULL OR to_period >= %(period)s)
ORDER BY lease_id, id;

-- name: tax_rates_in_force
SELECT tax, city, rate, minimum_base, valid_from, valid_to FROM invoicing.tax_rate
WHERE valid_from <= %(day)s AND (valid_to IS NULL OR valid_to >= %(day)s);

-- name: take_serials
-- Gapless: the row stays locked until the transaction that issues the invoices commits or is undone.
INSERT INTO invoicing.invoice_series (prefix, last_serial) VALUES (%(prefix)s, %(count)s)
ON CONFLICT (prefix) DO UPDATE SET last_serial = invoice_series.last_serial + EXCLUDED.last_serial
RETURNING last_serial;

-- name: take_ids
SELECT nextval(pg_get_serial_sequence('invoicing.invoice', 'id')) AS id FROM generate_series(1, %(count)s);

-- name: copy_invoices
COPY invoicing.invoice
    (id, series, serial, origin, reference, cycle_id, run_id, tenant_id, lease_id, settings_version_id, period,
     issued_on, due_on, currency, subtotal, tax, withholding, total, tenant_name, tenant_document_type,
     tenant_document_number, tenant_city, language, property, property_city, use)
FROM STDIN;

-- name: copy_lines
COPY invoicing.invoice_line
    (invoice_id, position, concept, description, amount, tax_rate, tax, active_days, period_days)
FROM STDIN;

-- name: copy_withholdings
COPY invoicing.invoice_withholding (invoice_id, tax, rate, base, amount) FROM STDIN;

-- name: invoice_tenants
-- One row an invoice, for the count.
SELECT tenant_id, id AS invoice_id FROM invoicing.invoice
WHERE cycle_id = %(cycle_id)s AND origin = 'monthly' AND state = 'issued';

-- name: invoices_by_id
SELECT i.*, l.code AS lease_code, t.code AS tenant_code
FROM invoicing.invoice AS i
JOIN invoicing.tenant AS t ON t.id = i.tenant_id
LEFT JOIN invoicing.lease AS l ON l.id = i.lease_id
WHERE i.id = ANY(%(ids)s) ORDER BY i.series, i.serial;

-- name: lines_of_invoices
SELECT * FROM invoicing.invoice_line WHERE invoice_id = ANY(%(ids)s) ORDER BY invoice_id, position;

-- name: withholdings_of_invoices
SELECT * FROM invoicing.invoice_withholding WHERE invoice_id = ANY(%(ids)s) ORDER BY invoice_id, tax;

-- name: documents
SELECT * FROM invoicing.invoice_document WHERE invoice_id = ANY(%(ids)s);

-- name: invoices_without_document
SELECT DISTINCT di.invoice_id, i.number FROM invoicing.delivery_invoice AS di
JOIN invoicing.delivery AS d ON d.id = di.delivery_id
JOIN invoicing.invoice AS i ON i.id = di.invoice_id
WHERE di.delivery_id = ANY(%(delivery_ids)s) AND d.state IN ('pending', 'claimed', 'failed')
  AND NOT EXISTS (SELECT FROM invoicing.invoice_document AS doc WHERE doc.invoice_id = di.invoice_id)
ORDER BY di.invoice_id;

-- name: add_document
-- The first to finish wins: the same bytes are sent ever after.
INSERT INTO invoicing.invoice_document (invoice_id, uri, sha256, size_bytes, template_version_id)
VALUES (%(invoice_id)s, %(uri)s, %(sha256)s, %(size_bytes)s, %(template_version_id)s)
ON CONFLICT (invoice_id) DO NOTHING;

-- name: known_references
SELECT reference, number, state FROM invoicing.invoice WHERE reference = ANY(%(references)s);

-- name: tenants_by_code
SELECT * FROM invoicing.tenant WHERE code = ANY(%(codes)s);

-- name: leases_by_code
SELECT * FROM invoicing.lease WHERE code = ANY(%(codes)s);

-- name: take_ids
SELECT nextval(pg_get_serial_sequence('invoicing.invoice', 'id')) AS id FROM generate_series(1, %(count)s);

-- name: copy_invoices
COPY invoicing.invoice
    (id, series, serial, origin, reference, cycle_id, run_id, tenant_id, lease_id, settings_version_id, period,
     issued_on, due_on, currency, subtotal, tax, withholding, total, tenant_name, tenant_document_type,
     tenant_document_number, tenant_city, language, property, property_city, use, kind,
     corrects, replaces, sent_apart)
FROM STDIN;

-- name: copy_lines
COPY invoicing.invoice_line
    (invoice_id, position, concept, description, amount, tax_rate, tax, active_days, period_days)
FROM STDIN;

-- name: copy_withholdings
COPY invoicing.invoice_withholding (invoice_id, tax, rate, base, amount) FROM STDIN;

-- name: copy_bases
COPY invoicing.invoice_basis (invoice_id, basis) FROM STDIN;

-- name: invoice_tenants
-- One row per invoice, for the count.
SELECT tenant_id, id AS invoice_id FROM invoicing.invoice
WHERE cycle_id = %(cycle_id)s AND origin = 'monthly' AND stands;

-- name: clear_counts
DELETE FROM invoicing.invoice_count WHERE run_id = %(run_id)s;

-- name: copy_counts
COPY invoicing.invoice_count (run_id, tenant_id, invoices) FROM STDIN;

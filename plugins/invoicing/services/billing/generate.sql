-- name: first_invoice
-- In the order of the index: in any order, a table of years may be read until it comes to the month.
SELECT id FROM invoicing.invoice WHERE cycle_id = %(cycle_id)s AND origin = 'monthly' ORDER BY tenant_id LIMIT 1;

-- name: clear_unissued
DELETE FROM invoicing.unissued_invoice WHERE cycle_id = %(cycle_id)s;

-- name: add_unissued
INSERT INTO invoicing.unissued_invoice (cycle_id, lease_id, run_id, total, currency)
VALUES (%(cycle_id)s, %(lease_id)s, %(run_id)s, %(total)s, %(currency)s);

-- name: first_invoice
SELECT id FROM invoicing.invoice WHERE cycle_id = %(cycle_id)s AND origin = 'monthly' LIMIT 1;

-- name: clear_unissued
DELETE FROM invoicing.unissued_invoice WHERE cycle_id = %(cycle_id)s;

-- name: add_unissued
INSERT INTO invoicing.unissued_invoice (cycle_id, lease_id, run_id, total, currency)
VALUES (%(cycle_id)s, %(lease_id)s, %(run_id)s, %(total)s, %(currency)s);

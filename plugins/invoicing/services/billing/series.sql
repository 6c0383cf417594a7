-- name: lock_series
-- Gapless: the row stays locked until the transaction that issues the invoices commits or is undone.
INSERT INTO invoicing.invoice_series (prefix) VALUES (%(prefix)s)
ON CONFLICT (prefix) DO UPDATE SET last_serial = invoice_series.last_serial
RETURNING last_serial;

-- name: advance
UPDATE invoicing.invoice_series SET last_serial = %(last_serial)s WHERE prefix = %(prefix)s;

-- name: last_serial
SELECT last_serial FROM invoicing.invoice_series WHERE prefix = %(prefix)s;

-- name: range_in_force
SELECT prefix, first_serial, last_serial, valid_from, valid_to, resolution, actor, created_at FROM invoicing.series_range
WHERE prefix = %(prefix)s ORDER BY id DESC LIMIT 1;

-- name: add_range
INSERT INTO invoicing.series_range (prefix, first_serial, last_serial, valid_from, valid_to, resolution, actor)
VALUES (%(prefix)s, %(first_serial)s, %(last_serial)s, %(valid_from)s, %(valid_to)s, %(resolution)s, %(actor)s);

-- name: prefixes
SELECT prefix FROM invoicing.invoice_series WHERE last_serial > 0
UNION SELECT prefix FROM invoicing.series_range ORDER BY prefix;

-- name: leases_of_month
SELECT count(*) AS leases FROM invoicing.lease
WHERE start_date <= %(last_day)s AND (end_date IS NULL OR end_date >= %(first_day)s);

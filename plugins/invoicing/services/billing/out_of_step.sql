-- name: months_looked_back_on
-- This month and what was opened ahead of it, and the last months before it that have a cycle; newest first.
SELECT period FROM invoicing.billing_cycle WHERE period >= %(this)s
UNION ALL
(SELECT period FROM invoicing.billing_cycle WHERE period < %(this)s ORDER BY period DESC LIMIT %(earlier)s)
ORDER BY period DESC;

-- name: older_months_with_drift
SELECT DISTINCT i.period FROM invoicing.drifted_invoice AS d JOIN invoicing.invoice AS i ON i.id = d.invoice_id
WHERE i.stands AND NOT i.period = ANY(%(but)s);

-- name: leases_of
SELECT l.id FROM invoicing.lease AS l JOIN invoicing.tenant AS t ON t.id = l.tenant_id
WHERE t.code = %(tenant)s OR l.code = %(lease)s;

-- name: standing_invoices
SELECT i.id, i.lease_id, i.tenant_id, i.currency
FROM invoicing.invoice AS i JOIN invoicing.billing_cycle AS c ON c.id = i.cycle_id
WHERE c.period = %(period)s AND i.origin = 'monthly' AND i.stands
  AND (NOT %(known_only)s OR i.id IN (SELECT invoice_id FROM invoicing.drifted_invoice))
  AND (%(lease_ids)s::bigint[] IS NULL OR i.lease_id = ANY(%(lease_ids)s));

-- name: lines_of_invoices
-- As they were issued, and what credit notes took of them since.
SELECT l.invoice_id, l.concept, l.description, l.amount, coalesce(c.amount, 0) AS credited, l.tax_rate, l.tax,
       coalesce(c.tax, 0) AS tax_credited, l.active_days, l.period_days
FROM invoicing.invoice_line AS l
LEFT JOIN (
    SELECT n.corrects, c.position, sum(c.amount) AS amount, sum(c.tax) AS tax
    FROM invoicing.invoice AS n JOIN invoicing.invoice_line AS c ON c.invoice_id = n.id
    WHERE n.corrects = ANY(%(ids)s) GROUP BY n.corrects, c.position
) AS c ON c.corrects = l.invoice_id AND c.position = l.position
WHERE l.invoice_id = ANY(%(ids)s) ORDER BY l.invoice_id, l.position;

-- name: withholdings_of_invoices
SELECT w.invoice_id, w.tax, w.rate, w.base, coalesce(c.base, 0) AS base_credited, w.amount,
       coalesce(c.amount, 0) AS credited
FROM invoicing.invoice_withholding AS w
LEFT JOIN (
    SELECT n.corrects, c.tax, sum(c.base) AS base, sum(c.amount) AS amount
    FROM invoicing.invoice AS n JOIN invoicing.invoice_withholding AS c ON c.invoice_id = n.id
    WHERE n.corrects = ANY(%(ids)s) GROUP BY n.corrects, c.tax
) AS c ON c.corrects = w.invoice_id AND c.tax = w.tax
WHERE w.invoice_id = ANY(%(ids)s);

-- name: forget_drift
-- Of those looked at, what is as the lease says (again).
DELETE FROM invoicing.drifted_invoice WHERE invoice_id = ANY(%(looked_at)s) AND NOT invoice_id = ANY(%(drifted)s);

-- name: keep_drift
INSERT INTO invoicing.drifted_invoice (invoice_id, total, currency) VALUES (%(invoice_id)s, %(total)s, %(currency)s)
ON CONFLICT (invoice_id) DO UPDATE SET total = EXCLUDED.total, currency = EXCLUDED.currency;

-- name: drifted_invoices
SELECT l.code AS lease, t.code AS tenant, i.number, i.total, i.currency, d.total AS total_today,
       d.currency AS currency_today, d.found_at
FROM invoicing.drifted_invoice AS d
JOIN invoicing.invoice AS i ON i.id = d.invoice_id
JOIN invoicing.billing_cycle AS c ON c.id = i.cycle_id
JOIN invoicing.lease AS l ON l.id = i.lease_id
JOIN invoicing.tenant AS t ON t.id = i.tenant_id
WHERE c.period = %(period)s AND i.stands AND (%(lease_ids)s::bigint[] IS NULL OR l.id = ANY(%(lease_ids)s))
ORDER BY l.code LIMIT %(limit)s;

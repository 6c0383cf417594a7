-- name: month_before
-- The latest earlier month with invoices that stand.
SELECT c.id AS cycle_id, c.period FROM invoicing.billing_cycle AS c
WHERE c.period < %(period)s AND EXISTS (
    SELECT FROM invoicing.invoice AS i WHERE i.cycle_id = c.id AND i.origin = 'monthly' AND i.stands)
ORDER BY c.period DESC LIMIT 1;

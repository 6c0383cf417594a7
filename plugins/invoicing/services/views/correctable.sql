-- name: correctable
-- Invoices of a month that stand, by number: those that fit a search and a filter.
SELECT count(*) OVER () AS total, i.number, t.code AS tenant, i.tenant_name AS name, l.code AS lease, i.property, i.total AS amount,
       i.currency, i.state, left_already.has_left, drift.invoice_id IS NOT NULL AS is_drifted
FROM invoicing.invoice AS i
JOIN invoicing.tenant AS t ON t.id = i.tenant_id
JOIN invoicing.lease AS l ON l.id = i.lease_id
LEFT JOIN invoicing.drifted_invoice AS drift ON drift.invoice_id = i.id
CROSS JOIN LATERAL (
    SELECT EXISTS (
        SELECT FROM invoicing.delivery_invoice AS di JOIN invoicing.delivery AS d ON d.id = di.delivery_id
        WHERE di.invoice_id = i.id AND (d.state = 'sent' OR invoicing.may_have_left(d.id))) AS has_left
) AS left_already
WHERE i.period = %(period)s AND i.origin = 'monthly' AND i.stands
  AND (%(patterns)s::text[] = '{}'
       OR t.words || ' ' || lower(i.number || ' ' || l.code || ' ' || i.property) LIKE ALL (%(patterns)s))
  AND CASE %(only)s WHEN 'drifted' THEN drift.invoice_id IS NOT NULL WHEN 'sent' THEN left_already.has_left
                    WHEN 'unsent' THEN NOT left_already.has_left ELSE true END
ORDER BY i.series, i.serial LIMIT %(limit)s;

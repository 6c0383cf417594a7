-- name: bills
-- As they are after their credit notes.
SELECT l.code AS lease, t.code AS tenant, i.currency,
       i.total - CASE WHEN i.state = 'partly_credited'
                      THEN (SELECT sum(c.total) FROM invoicing.invoice AS c WHERE c.corrects = i.id) ELSE 0 END AS total
FROM invoicing.invoice AS i
JOIN invoicing.tenant AS t ON t.id = i.tenant_id
JOIN invoicing.lease AS l ON l.id = i.lease_id
WHERE i.cycle_id = %(cycle_id)s AND i.origin = 'monthly' AND i.stands;

-- name: outcomes
SELECT t.code AS tenant, coalesce(d.reason, 'send') AS outcome
FROM invoicing.decision AS d JOIN invoicing.tenant AS t ON t.id = d.tenant_id
WHERE d.cycle_id = %(cycle_id)s AND d.superseded_at IS NULL;

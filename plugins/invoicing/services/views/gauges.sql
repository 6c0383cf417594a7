-- name: deliveries
-- Of all months, what is not settled. What the brake holds, or an approval, is not late.
SELECT count(*) FILTER (WHERE d.state = 'failed' AND NOT d.given_up) AS failed,
       count(*) FILTER (WHERE d.state = 'in_doubt') AS in_doubt,
       count(*) FILTER (WHERE unsent.is_due) AS unsent,
       coalesce(%(now)s - min(d.created_at) FILTER (WHERE unsent.is_due), '0') AS oldest_unsent
FROM invoicing.delivery AS d JOIN invoicing.tenant AS t ON t.id = d.tenant_id
CROSS JOIN invoicing.settings_in_force AS s
CROSS JOIN LATERAL (
    SELECT d.state IN ('claimed', 'transmitting')
        OR d.state = 'pending' AND s.auto_send AND t.auto_send AND NOT invoicing.is_held(t.id, d.period)
           AND NOT EXISTS (
               SELECT FROM invoicing.approval_item AS i JOIN invoicing.approval_request AS q ON q.id = i.request_id
               WHERE i.delivery_id = d.id AND q.scope = 'month'
                 AND NOT EXISTS (SELECT FROM invoicing.approval_answer AS a WHERE a.request_id = q.id)) AS is_due
) AS unsent
WHERE d.state IN ('pending', 'claimed', 'transmitting', 'failed', 'in_doubt');

-- name: oldest_waiting_approval
SELECT coalesce(%(now)s - min(q.asked_at), '0') AS oldest FROM invoicing.approval_request AS q
WHERE q.scope = 'month' AND NOT EXISTS (SELECT FROM invoicing.approval_answer AS a WHERE a.request_id = q.id);

-- name: month
-- Of the month whose tick was the last one.
SELECT EXISTS (SELECT FROM invoicing.billing_cycle WHERE period = %(period)s) AS is_opened,
       (SELECT count(*) FROM invoicing.delivery WHERE period = %(period)s AND state = 'sent') AS sent;

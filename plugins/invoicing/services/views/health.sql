-- name: month
SELECT EXISTS (SELECT FROM invoicing.billing_cycle WHERE period = %(period)s) AS is_opened,
       EXISTS (SELECT FROM invoicing.lease
               WHERE start_date <= %(last_day)s AND (end_date IS NULL OR end_date >= %(first_day)s)) AS has_leases;

-- name: left_open
-- A cycle is opened by each run of it and closed where one ended well. One that waits for an approval is another question.
SELECT c.period, coalesce(max(r.started_at), c.opened_at) AS since
FROM invoicing.billing_cycle AS c LEFT JOIN invoicing.cycle_run AS r ON r.cycle_id = c.id
WHERE c.state = 'open'
  AND NOT EXISTS (
      SELECT FROM invoicing.approval_request AS q
      WHERE q.cycle_id = c.id AND q.scope = 'month'
        AND NOT EXISTS (SELECT FROM invoicing.approval_answer AS a WHERE a.request_id = q.id))
GROUP BY c.id
HAVING coalesce(max(r.started_at), c.opened_at) < %(before)s
ORDER BY c.period;

-- name: closed_months
-- Of one that is open a run is at work, or nobody closed it, which is another question.
SELECT period FROM invoicing.billing_cycle WHERE state = 'closed';

-- name: failed
SELECT count(*) AS count, min(updated_at) AS since,
       coalesce((array_agg(id ORDER BY id))[:%(most)s], '{}') AS ids
FROM invoicing.delivery WHERE state = 'failed' AND NOT given_up;

-- name: in_doubt
SELECT count(*) AS count, min(updated_at) AS since,
       coalesce((array_agg(id ORDER BY id))[:%(most)s], '{}') AS ids
FROM invoicing.delivery WHERE state = 'in_doubt';

-- name: unsent
-- What the brake holds is not late, nor is what waits for an approval, which is another question.
SELECT count(*) AS count, min(d.updated_at) AS since,
       coalesce((array_agg(d.id ORDER BY d.id))[:%(most)s], '{}') AS ids
FROM invoicing.delivery AS d JOIN invoicing.tenant AS t ON t.id = d.tenant_id
WHERE d.state IN ('pending', 'claimed', 'transmitting') AND d.updated_at < %(before)s
  AND (d.state <> 'pending' OR t.auto_send AND (SELECT auto_send FROM invoicing.settings_in_force)
       AND NOT EXISTS (
           SELECT FROM invoicing.approval_item AS i JOIN invoicing.approval_request AS q ON q.id = i.request_id
           WHERE i.delivery_id = d.id AND q.scope = 'month'
             AND NOT EXISTS (SELECT FROM invoicing.approval_answer AS a WHERE a.request_id = q.id)));

-- name: holds
SELECT h.period, t.code AS tenant FROM invoicing.sending_hold AS h LEFT JOIN invoicing.tenant AS t ON t.id = h.tenant_id
WHERE h.released_at IS NULL ORDER BY h.period, t.code LIMIT 11;

-- name: waiting_approvals
-- Months that wait for a person.
SELECT c.period, q.asked_at FROM invoicing.approval_request AS q
JOIN invoicing.billing_cycle AS c ON c.id = q.cycle_id
WHERE q.scope = 'month'
  AND NOT EXISTS (SELECT FROM invoicing.approval_answer AS a WHERE a.request_id = q.id)
ORDER BY q.asked_at;

-- name: unsent_notices
-- One that was not tried yet is being sent just now.
SELECT problem FROM invoicing.operator_notice
WHERE sent_at IS NULL AND (attempts > 0 OR created_at < now() - interval '15 minutes') ORDER BY id DESC;

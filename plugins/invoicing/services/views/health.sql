-- name: month
SELECT EXISTS (SELECT FROM invoicing.billing_cycle WHERE period = %(period)s) AS is_opened,
       EXISTS (SELECT FROM invoicing.lease
               WHERE start_date <= %(last_day)s AND (end_date IS NULL OR end_date >= %(first_day)s)) AS has_leases,
       EXISTS (SELECT FROM invoicing.lease
               WHERE start_date <= %(last_day)s AND (end_date IS NULL OR end_date >= %(first_day)s)
                 AND updated_at < %(before)s) AS has_leases_for_long;

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

-- name: unsent_notices
-- One that was not tried yet is being sent just now.
SELECT problem FROM invoicing.operator_notice
WHERE sent_at IS NULL AND (attempts > 0 OR created_at < now() - interval '15 minutes') ORDER BY id DESC;

-- name: failed
-- What was refused and nobody gave up; the first of them, and how many there are.
SELECT count(*) OVER () AS total, min(d.updated_at) OVER () AS since, d.id AS delivery_id, d.period, d.cycle_id, t.code AS tenant, t.name,
       d.state, d.last_reply
FROM invoicing.delivery AS d JOIN invoicing.tenant AS t ON t.id = d.tenant_id
WHERE d.state = 'failed' AND NOT d.given_up ORDER BY d.id LIMIT %(most)s;

-- name: in_doubt
SELECT count(*) OVER () AS total, min(d.updated_at) OVER () AS since, d.id AS delivery_id, d.period, d.cycle_id, t.code AS tenant, t.name,
       d.state, d.last_reply
FROM invoicing.delivery AS d JOIN invoicing.tenant AS t ON t.id = d.tenant_id
WHERE d.state = 'in_doubt' ORDER BY d.id LIMIT %(most)s;

-- name: unsent
-- What the brake holds is not late, nor is what waits for an approval, which is another question.
SELECT count(*) OVER () AS total, min(d.updated_at) OVER () AS since, d.id AS delivery_id, d.period, d.cycle_id, t.code AS tenant, t.name,
       d.state, d.last_reply
FROM invoicing.delivery AS d JOIN invoicing.tenant AS t ON t.id = d.tenant_id
WHERE d.state IN ('pending', 'claimed', 'transmitting') AND d.updated_at < %(before)s
  AND (d.state <> 'pending' OR t.auto_send AND (SELECT auto_send FROM invoicing.settings_in_force)
       AND NOT EXISTS (
           SELECT FROM invoicing.approval_item AS i JOIN invoicing.approval_request AS q ON q.id = i.request_id
           WHERE i.delivery_id = d.id AND q.scope = 'month'
             AND NOT EXISTS (SELECT FROM invoicing.approval_answer AS a WHERE a.request_id = q.id)))
ORDER BY d.id LIMIT %(most)s;

-- name: holds
SELECT count(*) OVER () AS total, h.period, t.code AS tenant, t.name, h.reason, h.actor, h.held_at AS since
FROM invoicing.sending_hold AS h LEFT JOIN invoicing.tenant AS t ON t.id = h.tenant_id
WHERE h.released_at IS NULL ORDER BY h.period, t.code LIMIT %(most)s;

-- name: unmade
-- What was voided, held or mailed meanwhile, and what was made, is none of it.
SELECT count(*) OVER () AS total, min(u.asked_at) OVER () AS since, i.number, i.period, t.code AS tenant, t.name,
       u.problem ->> 'es' AS problem_es, u.problem ->> 'en' AS problem_en
FROM invoicing.unmade_document AS u
JOIN invoicing.cycle_run AS r ON r.id = u.run_id
JOIN invoicing.unmailed_without_document AS v ON v.id = u.invoice_id
JOIN invoicing.invoice AS i ON i.id = u.invoice_id
JOIN invoicing.tenant AS t ON t.id = i.tenant_id
WHERE u.problem IS NOT NULL OR r.ended_at < %(before)s
ORDER BY i.series, i.serial LIMIT %(most)s;

-- name: waiting_approvals
-- Months that wait for a person.
SELECT c.period, q.asked_at AS since FROM invoicing.approval_request AS q
JOIN invoicing.billing_cycle AS c ON c.id = q.cycle_id
WHERE q.scope = 'month'
  AND NOT EXISTS (SELECT FROM invoicing.approval_answer AS a WHERE a.request_id = q.id)
ORDER BY q.asked_at;

-- name: closed_months
-- Of one that is open a run is at work, or nobody closed it, which is another question.
SELECT period FROM invoicing.billing_cycle WHERE state = 'closed';

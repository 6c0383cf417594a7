-- name: approval_of
-- The newest question about a month, with its answer where there is one.
SELECT q.id, coalesce(a.answer, 'waiting') AS state, q.asked_at, q.actor AS asked_by, q.summary, q.fingerprint, a.actor, a.reason, a.via, a.at
FROM invoicing.approval_request AS q
JOIN invoicing.billing_cycle AS c ON c.id = q.cycle_id
LEFT JOIN invoicing.approval_answer AS a ON a.request_id = q.id
WHERE c.period = %(period)s AND q.scope = 'month'
ORDER BY q.id DESC LIMIT 1;

-- name: earlier_answers
SELECT a.answer AS state, a.actor, a.reason, a.via, a.at
FROM invoicing.approval_request AS q
JOIN invoicing.billing_cycle AS c ON c.id = q.cycle_id
JOIN invoicing.approval_answer AS a ON a.request_id = q.id
WHERE c.period = %(period)s AND q.scope = 'month' AND q.id < %(before)s
ORDER BY q.id DESC LIMIT 20;

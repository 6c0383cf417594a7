-- name: cycle_of_period
SELECT id, period, state, opened_at, closed_at FROM invoicing.billing_cycle WHERE period = %(period)s;

-- name: months
-- One page of the cycles, newest first, each with its figures.
WITH page AS (
    SELECT id, period, state, opened_at, closed_at FROM invoicing.billing_cycle
    ORDER BY period DESC LIMIT %(limit)s OFFSET %(offset)s
), sums AS (
    SELECT cycle_id, currency, count(*) AS invoices, sum(total) AS total FROM invoicing.invoice
    WHERE cycle_id IN (SELECT id FROM page) AND origin = 'monthly' AND stands
    GROUP BY cycle_id, currency
), money AS (
    SELECT DISTINCT ON (cycle_id) cycle_id, currency, total, sum(invoices) OVER (PARTITION BY cycle_id) AS invoices,
           count(*) OVER (PARTITION BY cycle_id) AS currencies
    FROM sums ORDER BY cycle_id, invoices DESC, currency
), decided AS (
    SELECT cycle_id, count(*) AS tenants, count(*) FILTER (WHERE reason IS NULL) AS to_send
    FROM invoicing.decision WHERE cycle_id IN (SELECT id FROM page) AND superseded_at IS NULL
    GROUP BY cycle_id
), delivered AS (
    -- What is sent again is none of the month's messages; what needs a person does, whichever it is.
    SELECT cycle_id, count(*) FILTER (WHERE state = 'sent' AND purpose = 'initial') AS sent,
           count(*) FILTER (WHERE state = 'failed') AS failed,
           count(*) FILTER (WHERE state = 'in_doubt') AS in_doubt,
           count(*) FILTER (WHERE state IN ('pending', 'claimed', 'transmitting', 'held') AND purpose = 'initial') AS waiting
    FROM invoicing.delivery WHERE cycle_id IN (SELECT id FROM page)
    GROUP BY cycle_id
)
SELECT page.period, page.state, page.opened_at, page.closed_at,
       coalesce(money.invoices, 0)::bigint AS invoices, coalesce(money.total, 0) AS total,
       coalesce(money.currency, 'COP') AS currency, coalesce(money.currencies, 0) AS currencies,
       coalesce(decided.tenants, 0) AS tenants, coalesce(decided.to_send, 0) AS to_send,
       coalesce(delivered.sent, 0) AS sent, coalesce(delivered.failed, 0) AS failed,
       coalesce(delivered.in_doubt, 0) AS in_doubt, coalesce(delivered.waiting, 0) AS waiting,
       EXISTS (SELECT FROM invoicing.cycle_run AS r WHERE r.cycle_id = page.id AND r.state = 'running') AS running
FROM page
LEFT JOIN money ON money.cycle_id = page.id
LEFT JOIN decided ON decided.cycle_id = page.id
LEFT JOIN delivered ON delivered.cycle_id = page.id
ORDER BY page.period DESC;

-- name: count_months
SELECT count(*) AS cycles FROM invoicing.billing_cycle;

-- name: invoice_sums
SELECT currency, count(*) AS count, sum(total) AS total FROM invoicing.invoice
WHERE cycle_id = %(cycle_id)s AND origin = 'monthly' AND stands
GROUP BY currency ORDER BY count(*) DESC, currency;

-- name: credit_sums
SELECT currency, count(*) AS count, sum(total) AS total FROM invoicing.invoice
WHERE cycle_id = %(cycle_id)s AND corrects IS NOT NULL
GROUP BY currency ORDER BY count(*) DESC, currency;

-- name: decision_counts
SELECT coalesce(reason, 'send') AS outcome, count(*) AS tenants FROM invoicing.decision
WHERE cycle_id = %(cycle_id)s AND superseded_at IS NULL
GROUP BY 1;

-- name: delivery_counts
SELECT state, count(*) AS deliveries, count(*) FILTER (WHERE purpose = 'initial') AS first FROM invoicing.delivery
WHERE cycle_id = %(cycle_id)s GROUP BY state;

-- name: unissued
SELECT l.code AS lease, t.code AS tenant, u.total, u.currency
FROM invoicing.unissued_invoice AS u
JOIN invoicing.lease AS l ON l.id = u.lease_id
JOIN invoicing.tenant AS t ON t.id = l.tenant_id
WHERE u.cycle_id = %(cycle_id)s ORDER BY l.code;

-- name: runs_to_show
-- Those of the monthly DAG, and those of others that sent a delivery of the cycle (again).
SELECT r.id, r.dag_id, r.dag_run_id, r.state, r.started_at, r.ended_at, r.settings_version_id, r.code_version,
       r.counts, v.name AS template_name, v.version AS template_number, r.cycle_id IS NULL AS is_other, r.started_via, r.started_by
FROM invoicing.cycle_run AS r
JOIN invoicing.template_version AS v ON v.id = r.template_version_id
WHERE r.cycle_id = %(cycle_id)s
   OR r.id IN (SELECT d.run_id FROM invoicing.delivery AS d WHERE d.cycle_id = %(cycle_id)s AND d.purpose = 'resend')
ORDER BY r.started_at DESC LIMIT 50;

-- name: transmissions
-- Accepted transmissions of a cycle's first deliveries, and the time from the first to the last.
SELECT count(*) AS accepted, min(a.marked_at) AS first_at, max(a.ended_at) AS last_at
FROM invoicing.delivery AS d
JOIN invoicing.delivery_attempt AS a ON a.delivery_id = d.id AND a.verdict = 'accepted'
WHERE d.cycle_id = %(cycle_id)s AND d.purpose = 'initial';

-- name: troubled
-- What a person must look at, newest first.
SELECT d.id, d.state, d.purpose, t.code AS tenant, t.name, t.emails, t.updated_at AS tenant_updated_at, d.last_reply, d.reason, d.claimed_by,
       d.attempts, d.updated_at
FROM invoicing.delivery AS d JOIN invoicing.tenant AS t ON t.id = d.tenant_id
WHERE d.cycle_id = %(cycle_id)s AND d.state IN ('in_doubt', 'failed', 'held')
ORDER BY d.state = 'in_doubt' DESC, d.updated_at DESC LIMIT %(limit)s;

-- name: progress
SELECT c.period,
       EXISTS (SELECT FROM invoicing.cycle_run AS r WHERE r.cycle_id = c.id AND r.state = 'running') OR s.moving > 0
           AS running,
       c.state,
       (SELECT count(*) FROM invoicing.invoice AS i
        WHERE i.cycle_id = c.id AND i.origin = 'monthly' AND i.stands) AS invoices,
       (SELECT count(*) FROM invoicing.decision AS d WHERE d.cycle_id = c.id AND d.superseded_at IS NULL) AS tenants,
       (SELECT count(*) FROM invoicing.decision AS d
        WHERE d.cycle_id = c.id AND d.superseded_at IS NULL AND d.reason IS NULL) AS to_send,
       s.sent, s.failed, s.in_doubt, s.waiting
FROM invoicing.billing_cycle AS c
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE state = 'sent' AND purpose = 'initial') AS sent,
           count(*) FILTER (WHERE state = 'failed') AS failed,
           count(*) FILTER (WHERE state = 'in_doubt') AS in_doubt,
           count(*) FILTER (WHERE state IN ('pending', 'claimed', 'transmitting') AND purpose = 'initial') AS waiting,
           count(*) FILTER (WHERE state IN ('claimed', 'transmitting') OR state = 'pending' AND on_request) AS moving
    FROM invoicing.delivery WHERE cycle_id = c.id
) AS s
WHERE c.period = %(period)s;

-- name: months
-- One page of the cycles, newest first, each with its figures.
WITH page AS (
    SELECT id, period, state, opened_at, closed_at FROM invoicing.billing_cycle
    ORDER BY period DESC LIMIT %(limit)s OFFSET %(offset)s
), sums AS (
    SELECT cycle_id, currency, count(*) AS invoices, sum(total) AS total FROM invoicing.invoice
    WHERE cycle_id IN (SELECT id FROM page) AND origin = 'monthly' AND state = 'issued'
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
    SELECT cycle_id, count(*) FILTER (WHERE state = 'sent') AS sent,
           count(*) FILTER (WHERE state = 'failed') AS failed,
           count(*) FILTER (WHERE state = 'in_doubt') AS in_doubt,
           count(*) FILTER (WHERE state IN ('pending', 'claimed', 'transmitting', 'held')) AS waiting
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

-- name: runs
-- Those of the monthly DAG, and those of others that sent a delivery of the cycle (again).
SELECT r.id, r.dag_id, r.dag_run_id, r.state, r.started_at, r.ended_at, r.settings_version_id, r.code_version,
       r.counts, v.name AS template_name, v.version AS template_number, r.cycle_id IS NULL AS is_other
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
SELECT d.id, d.state, t.code AS tenant, t.name, d.last_reply, d.reason, d.claimed_by, d.attempts, d.updated_at
FROM invoicing.delivery AS d JOIN invoicing.tenant AS t ON t.id = d.tenant_id
WHERE d.cycle_id = %(cycle_id)s AND d.state IN ('in_doubt', 'failed', 'held')
ORDER BY d.state = 'in_doubt' DESC, d.updated_at DESC LIMIT %(limit)s;

-- name: progress
SELECT c.state,
       EXISTS (SELECT FROM invoicing.cycle_run AS r WHERE r.cycle_id = c.id AND r.state = 'running') AS run_is_open,
       (SELECT count(*) FROM invoicing.invoice AS i
        WHERE i.cycle_id = c.id AND i.origin = 'monthly' AND i.state = 'issued') AS invoices,
       (SELECT count(*) FROM invoicing.decision AS d WHERE d.cycle_id = c.id AND d.superseded_at IS NULL) AS tenants,
       (SELECT count(*) FROM invoicing.decision AS d
        WHERE d.cycle_id = c.id AND d.superseded_at IS NULL AND d.reason IS NULL) AS to_send,
       s.*
FROM invoicing.billing_cycle AS c
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE state = 'sent') AS sent,
           count(*) FILTER (WHERE state = 'failed') AS failed,
           count(*) FILTER (WHERE state = 'in_doubt') AS in_doubt,
           count(*) FILTER (WHERE state IN ('pending', 'claimed', 'transmitting')) AS waiting,
           count(*) FILTER (WHERE state IN ('claimed', 'transmitting') OR state = 'pending' AND on_request) AS moving
    FROM invoicing.delivery WHERE cycle_id = c.id
) AS s
WHERE c.period = %(period)s;

-- name: cycle_tenants_found
-- One page of a cycle's tenants, each with the delivery that needs most attention.
WITH told AS (
    SELECT DISTINCT ON (tenant_id) tenant_id, id, state, updated_at, count(*) OVER (PARTITION BY tenant_id) AS deliveries
    FROM invoicing.delivery WHERE cycle_id = %(cycle_id)s
    ORDER BY tenant_id, array_position(
        ARRAY['in_doubt', 'failed', 'held', 'transmitting', 'claimed', 'pending', 'sent', 'cancelled'], state), id DESC
), found AS (
    SELECT d.id AS decision_id, d.tenant_id, d.reason, d.invoice_count, t.code, t.plain_name, told.id AS delivery_id, told.state,
           told.updated_at, told.deliveries
    FROM invoicing.decision AS d
    JOIN invoicing.tenant AS t ON t.id = d.tenant_id
    LEFT JOIN told ON told.tenant_id = d.tenant_id
    WHERE d.cycle_id = %(cycle_id)s AND d.superseded_at IS NULL
      AND (%(outcome)s::text IS NULL OR coalesce(d.reason, 'send') = %(outcome)s
           OR %(outcome)s = 'skip' AND d.reason IS NOT NULL)
      AND (%(state)s::text IS NULL OR CASE %(state)s
               WHEN 'none' THEN told.id IS NULL
               ELSE EXISTS (SELECT FROM invoicing.delivery AS x
                            WHERE x.cycle_id = %(cycle_id)s AND x.tenant_id = d.tenant_id AND x.state = %(state)s) END)
      AND (%(patterns)s::text[] = '{}' OR t.words LIKE ALL (%(patterns)s))
), shown AS (
    SELECT *, count(*) OVER () AS total, row_number() OVER (
               ORDER BY CASE WHEN %(sort)s = 'name' AND NOT %(descending)s THEN plain_name END,
                        CASE WHEN %(sort)s = 'name' AND %(descending)s THEN plain_name END DESC,
                        CASE WHEN %(sort)s = 'invoices' AND NOT %(descending)s THEN invoice_count END,
                        CASE WHEN %(sort)s = 'invoices' AND %(descending)s THEN invoice_count END DESC,
                        CASE WHEN %(sort)s = 'decision' AND NOT %(descending)s THEN coalesce(reason, '') END,
                        CASE WHEN %(sort)s = 'decision' AND %(descending)s THEN coalesce(reason, '') END DESC,
                        CASE WHEN %(sort)s = 'state' AND NOT %(descending)s THEN state END,
                        CASE WHEN %(sort)s = 'state' AND %(descending)s THEN state END DESC NULLS LAST,
                        CASE WHEN %(sort)s = 'updated' AND NOT %(descending)s THEN updated_at END,
                        CASE WHEN %(sort)s = 'updated' AND %(descending)s THEN updated_at END DESC NULLS LAST,
                        CASE WHEN %(sort)s = 'code' AND %(descending)s THEN code END DESC,
                        code) AS position
    FROM found
    ORDER BY position LIMIT %(limit)s OFFSET %(offset)s
)
SELECT s.total, s.code AS tenant, t.name, s.invoice_count AS invoices, s.reason, decision.trace, s.deliveries,
       s.delivery_id, s.state, s.updated_at, d.attempts, d.last_reply, d.to_addresses, d.cc_addresses, d.message_id,
       d.purpose, d.claimed_by, d.reason AS delivery_reason
FROM shown AS s
JOIN invoicing.tenant AS t ON t.id = s.tenant_id
JOIN invoicing.decision AS decision ON decision.id = s.decision_id
LEFT JOIN invoicing.delivery AS d ON d.id = s.delivery_id
ORDER BY s.position;

-- name: cycle_tenant
SELECT t.id AS tenant_id, t.code, t.name, t.emails, t.cc_emails, t.language, d.invoice_count, d.reason, d.trace, d.decided_at,
       r.dag_id, r.dag_run_id, r.settings_version_id
FROM invoicing.tenant AS t
LEFT JOIN invoicing.decision AS d
    ON d.tenant_id = t.id AND d.cycle_id = %(cycle_id)s AND d.superseded_at IS NULL
LEFT JOIN invoicing.cycle_run AS r ON r.id = d.run_id
WHERE t.code = %(code)s;

-- name: earlier_decisions
SELECT invoice_count, reason, trace, decided_at, superseded_at FROM invoicing.decision
WHERE cycle_id = %(cycle_id)s AND tenant_id = %(tenant_id)s AND superseded_at IS NOT NULL
ORDER BY id DESC LIMIT 20;

-- name: invoices_of_cycle_tenant
SELECT i.id, i.number, l.code AS lease, i.property, i.issued_on, i.due_on, i.total, i.currency, i.state,
       doc.sha256 IS NOT NULL AS has_document
FROM invoicing.invoice AS i
LEFT JOIN invoicing.lease AS l ON l.id = i.lease_id
LEFT JOIN invoicing.invoice_document AS doc ON doc.invoice_id = i.id
WHERE i.cycle_id = %(cycle_id)s AND i.tenant_id = %(tenant_id)s AND i.origin = 'monthly'
ORDER BY i.series, i.serial LIMIT 200;

-- name: deliveries_to_show
-- Of a tenant in a cycle, or the one that is asked for; newest first.
SELECT d.id, d.period, d.cycle_id, d.state, d.purpose, d.generation, d.resend_of, d.message_id, d.message_date,
       d.to_addresses, d.cc_addresses, d.language, d.attempts, d.last_reply, d.actor, d.reason, d.created_at,
       d.updated_at, d.settings_version_id, d.claimed_by, d.doubt_resends, d.on_request, t.code AS tenant, t.name AS tenant_name,
       v.name AS template_name, v.version AS template_number,
       array(SELECT i.number FROM invoicing.delivery_invoice AS di
             JOIN invoicing.invoice AS i ON i.id = di.invoice_id
             WHERE di.delivery_id = d.id ORDER BY i.series, i.serial) AS invoices
FROM invoicing.delivery AS d
JOIN invoicing.tenant AS t ON t.id = d.tenant_id
JOIN invoicing.template_version AS v ON v.id = d.template_version_id
WHERE CASE WHEN %(id)s::bigint IS NULL THEN d.cycle_id = %(cycle_id)s AND d.tenant_id = %(tenant_id)s ELSE d.id = %(id)s END
ORDER BY d.id DESC LIMIT 60;

-- name: invoice_by_number
SELECT i.id, i.number, i.origin, i.reference, i.period, i.cycle_id, t.code AS tenant, i.tenant_name, l.code AS lease, i.property,
       i.property_city, i.issued_on, i.due_on, i.subtotal, i.tax, i.withholding, i.total, i.currency, i.state,
       i.settings_version_id, doc.uri, doc.sha256, doc.size_bytes, doc.rendered_at, v.name AS template_name, v.version AS template_number
FROM invoicing.invoice AS i
JOIN invoicing.tenant AS t ON t.id = i.tenant_id
LEFT JOIN invoicing.lease AS l ON l.id = i.lease_id
LEFT JOIN invoicing.invoice_document AS doc ON doc.invoice_id = i.id
LEFT JOIN invoicing.template_version AS v ON v.id = doc.template_version_id
WHERE i.number = %(number)s;

-- name: deliveries_of_invoice
SELECT d.id, d.state, d.purpose, d.updated_at, d.to_addresses, d.period, d.cycle_id
FROM invoicing.delivery_invoice AS di JOIN invoicing.delivery AS d ON d.id = di.delivery_id
WHERE di.invoice_id = %(id)s ORDER BY d.id DESC;

-- name: single_invoices_found
-- Invoices made outside the monthly job, each with what was decided and its newest delivery.
SELECT count(*) OVER () AS total, i.number, i.reference, i.issued_on, i.total AS amount, i.currency, t.code AS tenant, t.name,
       x.id AS decision_id, x.reason, x.trace, d.id AS delivery_id, d.state, d.purpose, d.attempts, d.last_reply, d.updated_at
FROM invoicing.invoice AS i
JOIN invoicing.tenant AS t ON t.id = i.tenant_id
LEFT JOIN invoicing.decision AS x ON x.invoice_id = i.id
LEFT JOIN LATERAL (
    SELECT d.* FROM invoicing.delivery_invoice AS di JOIN invoicing.delivery AS d ON d.id = di.delivery_id
    WHERE di.invoice_id = i.id ORDER BY d.id DESC LIMIT 1
) AS d ON true
WHERE i.origin = 'single' AND (%(patterns)s::text[] = '{}' OR t.words || ' ' || lower(i.number || ' ' || i.reference) LIKE ALL (%(patterns)s))
ORDER BY i.id DESC LIMIT %(limit)s OFFSET %(offset)s;

-- name: other_deliveries_found
-- What a person or the doubt policy sent again; what one run of `send_new_invoices` sent; what one task instance had.
SELECT count(*) OVER () AS total, d.id AS delivery_id, d.period, d.cycle_id, t.code AS tenant, t.name, d.state, d.purpose, d.generation,
       d.resend_of, d.attempts, d.last_reply, asked.actor, asked.reason, d.updated_at,
       array(SELECT i.number FROM invoicing.delivery_invoice AS di
             JOIN invoicing.invoice AS i ON i.id = di.invoice_id
             WHERE di.delivery_id = d.id ORDER BY i.series, i.serial) AS invoices
FROM invoicing.delivery AS d JOIN invoicing.tenant AS t ON t.id = d.tenant_id
LEFT JOIN LATERAL (
    SELECT e.actor, e.reason FROM invoicing.delivery_event AS e
    WHERE e.delivery_id = d.id AND e.to_state = 'pending' ORDER BY e.reason IS NULL, e.id DESC LIMIT 1
) AS asked ON true
WHERE CASE WHEN %(owner)s::text IS NOT NULL THEN d.claimed_by = %(owner)s
           WHEN %(run_id)s::bigint IS NOT NULL THEN d.run_id = %(run_id)s
           ELSE d.purpose = 'resend' OR d.on_request END
  AND (%(patterns)s::text[] = '{}' OR t.words LIKE ALL (%(patterns)s))
ORDER BY d.id DESC LIMIT %(limit)s OFFSET %(offset)s;

-- name: run_by_dag_run
SELECT r.id, r.dag_id, r.dag_run_id, r.state, r.started_at, r.ended_at, c.period
FROM invoicing.cycle_run AS r LEFT JOIN invoicing.billing_cycle AS c ON c.id = r.cycle_id
WHERE r.dag_id = %(dag_id)s AND r.dag_run_id = %(dag_run_id)s;

-- name: run_by_id
SELECT id, dag_id, dag_run_id, state, started_at, ended_at FROM invoicing.cycle_run WHERE id = %(id)s;

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
       d.purpose, d.claimed_by, d.reason AS delivery_reason, coalesce(billed.numbers, '{}') AS numbers, billed.due_on,
       coalesce(money.currencies, '{}') AS currencies, coalesce(money.totals, '{}') AS totals
FROM shown AS s
JOIN invoicing.tenant AS t ON t.id = s.tenant_id
JOIN invoicing.decision AS decision ON decision.id = s.decision_id
LEFT JOIN invoicing.delivery AS d ON d.id = s.delivery_id
LEFT JOIN LATERAL (
    SELECT array_agg(i.number ORDER BY i.series, i.serial) AS numbers, min(i.due_on) AS due_on FROM invoicing.invoice AS i
    WHERE i.cycle_id = %(cycle_id)s AND i.tenant_id = s.tenant_id AND i.origin = 'monthly' AND i.stands
) AS billed ON true
LEFT JOIN LATERAL (
    SELECT array_agg(x.currency ORDER BY x.currency) AS currencies, array_agg(x.total ORDER BY x.currency) AS totals
    FROM (SELECT i.currency, sum(i.total) AS total FROM invoicing.invoice AS i
          WHERE i.cycle_id = %(cycle_id)s AND i.tenant_id = s.tenant_id AND i.origin = 'monthly' AND i.stands
          GROUP BY i.currency) AS x
) AS money ON true
ORDER BY s.position;

-- name: cycle_tenant
SELECT t.id AS tenant_id, t.code, t.name, t.emails, t.cc_emails, t.language, t.updated_at, d.invoice_count, d.reason, d.trace, d.decided_at,
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
       doc.sha256 IS NOT NULL OR i.state = 'void' AS has_document, o.number AS corrects
FROM invoicing.invoice AS i
LEFT JOIN invoicing.invoice AS o ON o.id = i.corrects
LEFT JOIN invoicing.lease AS l ON l.id = i.lease_id
LEFT JOIN invoicing.invoice_document AS doc ON doc.invoice_id = i.id
WHERE i.cycle_id = %(cycle_id)s AND i.tenant_id = %(tenant_id)s
ORDER BY i.id LIMIT 200;

-- name: cycle_invoices_found
-- The invoices and credit notes of the tenants that fit, each with its tenant's decision and the delivery that carries it.
SELECT i.number, l.code AS lease, i.property, t.code AS tenant, t.name, i.issued_on, i.due_on, i.subtotal, i.tax, i.withholding, i.total,
       i.currency, i.state AS invoice_state, o.number AS corrects, d.reason, x.id AS delivery_id, x.state, x.updated_at, x.to_addresses, x.message_id
FROM invoicing.invoice AS i
JOIN invoicing.tenant AS t ON t.id = i.tenant_id
LEFT JOIN invoicing.lease AS l ON l.id = i.lease_id
LEFT JOIN invoicing.invoice AS o ON o.id = i.corrects
LEFT JOIN invoicing.decision AS d ON d.cycle_id = i.cycle_id AND d.tenant_id = i.tenant_id AND d.superseded_at IS NULL
LEFT JOIN LATERAL (
    SELECT x.id, x.state, x.updated_at, x.to_addresses, x.message_id FROM invoicing.delivery_invoice AS di
    JOIN invoicing.delivery AS x ON x.id = di.delivery_id WHERE di.invoice_id = i.id
    ORDER BY x.state = 'cancelled', x.id DESC LIMIT 1
) AS x ON true
WHERE i.cycle_id = %(cycle_id)s
  AND (%(outcome)s::text IS NULL OR d.id IS NOT NULL AND (
           coalesce(d.reason, 'send') = %(outcome)s OR %(outcome)s = 'skip' AND d.reason IS NOT NULL))
  AND (%(state)s::text IS NULL OR CASE %(state)s
           WHEN 'none' THEN NOT EXISTS (SELECT FROM invoicing.delivery AS y WHERE y.cycle_id = i.cycle_id AND y.tenant_id = i.tenant_id)
           ELSE EXISTS (SELECT FROM invoicing.delivery AS y
                        WHERE y.cycle_id = i.cycle_id AND y.tenant_id = i.tenant_id AND y.state = %(state)s) END)
  AND (%(patterns)s::text[] = '{}' OR t.words LIKE ALL (%(patterns)s))
ORDER BY i.series, i.serial;

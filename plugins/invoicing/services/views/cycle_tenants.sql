-- name: page_of
-- One page of a cycle's tenants, each with the delivery that needs most attention. These pieces make one statement: what of
-- them is asked alone stands in it, so that each sort is the walk of an index, and each filter one that an index answers.
SELECT t.code AS tenant, t.name, decision.invoice_count AS invoices, decision.reason, decision.trace, d.deliveries,
       d.id AS delivery_id, d.state, d.updated_at, d.attempts, d.last_reply, d.to_addresses, d.cc_addresses, d.message_id,
       d.purpose, d.claimed_by, d.reason AS delivery_reason, coalesce(billed.numbers, '{}') AS numbers, billed.due_on,
       coalesce(money.currencies, '{}') AS currencies, coalesce(money.totals, '{}') AS totals
FROM (
    SELECT decision_id, tenant_id, row_number() OVER () AS position FROM (

-- name: of_decisions
SELECT d.id AS decision_id, d.tenant_id FROM invoicing.decision AS d JOIN invoicing.tenant AS t ON t.id = d.tenant_id
WHERE d.cycle_id = %(cycle_id)s AND d.superseded_at IS NULL

-- name: of_deliveries
-- By the delivery that needs most attention.
SELECT d.id AS decision_id, d.tenant_id
FROM invoicing.delivery AS told
JOIN invoicing.decision AS d ON d.cycle_id = told.cycle_id AND d.tenant_id = told.tenant_id AND d.superseded_at IS NULL
JOIN invoicing.tenant AS t ON t.id = d.tenant_id
WHERE told.cycle_id = %(cycle_id)s
  AND NOT EXISTS (
      SELECT FROM invoicing.delivery AS other
      WHERE other.cycle_id = told.cycle_id AND other.tenant_id = told.tenant_id AND other.id <> told.id
        AND (array_position(ARRAY['in_doubt', 'failed', 'held', 'transmitting', 'claimed', 'pending', 'sent', 'cancelled'], other.state), -other.id)
            < (array_position(ARRAY['in_doubt', 'failed', 'held', 'transmitting', 'claimed', 'pending', 'sent', 'cancelled'], told.state), -told.id))

-- name: count_of
-- As far as people are told: a page of the address's is no slower in a large agency.
SELECT count(*) AS total FROM (
    SELECT FROM invoicing.decision AS d WHERE d.cycle_id = %(cycle_id)s AND d.superseded_at IS NULL

-- name: count_of_words
SELECT count(*) AS total FROM (
    SELECT FROM invoicing.decision AS d JOIN invoicing.tenant AS t ON t.id = d.tenant_id
    WHERE d.cycle_id = %(cycle_id)s AND d.superseded_at IS NULL

-- name: end_of_count
    LIMIT %(most)s
) AS found

-- name: who_get_mail
AND d.reason IS NULL

-- name: who_get_none
AND d.reason IS NOT NULL

-- name: for_a_reason
AND d.reason = %(outcome)s

-- name: with_state
AND EXISTS (
    SELECT FROM invoicing.delivery AS x WHERE x.cycle_id = d.cycle_id AND x.tenant_id = d.tenant_id AND x.state = %(state)s)

-- name: without_delivery
AND NOT EXISTS (SELECT FROM invoicing.delivery AS x WHERE x.cycle_id = d.cycle_id AND x.tenant_id = d.tenant_id)

-- name: with_words
AND invoicing.has_words(t.words, %(patterns)s::text[])

-- name: from_key
AND CASE WHEN %(sort)s = 'name' AND NOT %(backwards)s THEN (t.plain_name, t.code) > (%(key_name)s::text, %(key_code)s::text)
         WHEN %(sort)s = 'name' THEN (t.plain_name, t.code) < (%(key_name)s::text, %(key_code)s::text)
         WHEN NOT %(backwards)s THEN t.code > %(key_code)s
         ELSE t.code < %(key_code)s END

-- name: by_decision
-- What the parameters settle is settled when this is planned.
ORDER BY CASE WHEN %(sort)s = 'name' AND NOT %(backwards)s THEN t.plain_name END,
         CASE WHEN %(sort)s = 'name' AND %(backwards)s THEN t.plain_name END DESC,
         CASE WHEN %(sort)s = 'invoices' AND NOT %(backwards)s THEN d.invoice_count END,
         CASE WHEN %(sort)s = 'invoices' AND %(backwards)s THEN d.invoice_count END DESC,
         CASE WHEN %(sort)s = 'decision' AND NOT %(backwards)s THEN coalesce(d.reason, '') END,
         CASE WHEN %(sort)s = 'decision' AND %(backwards)s THEN coalesce(d.reason, '') END DESC,
         -- As they were imported, where no index has the codes too.
         CASE WHEN %(sort)s IN ('invoices', 'decision') AND NOT %(backwards)s THEN d.tenant_id END,
         CASE WHEN %(sort)s IN ('invoices', 'decision') AND %(backwards)s THEN d.tenant_id END DESC,
         CASE WHEN %(sort)s IN ('code', 'name') AND NOT %(backwards)s THEN t.code END,
         CASE WHEN %(sort)s IN ('code', 'name') AND %(backwards)s THEN t.code END DESC

-- name: by_delivery
ORDER BY CASE WHEN %(sort)s = 'state' AND NOT %(backwards)s THEN told.state END,
         CASE WHEN %(sort)s = 'state' AND %(backwards)s THEN told.state END DESC,
         CASE WHEN %(sort)s = 'updated' AND NOT %(backwards)s THEN told.updated_at END,
         CASE WHEN %(sort)s = 'updated' AND %(backwards)s THEN told.updated_at END DESC,
         CASE WHEN NOT %(backwards)s THEN told.id END,
         CASE WHEN %(backwards)s THEN told.id END DESC

-- name: end_of_page
        LIMIT %(limit)s OFFSET %(offset)s
    ) AS page
) AS s
JOIN invoicing.tenant AS t ON t.id = s.tenant_id
JOIN invoicing.decision AS decision ON decision.id = s.decision_id
LEFT JOIN LATERAL (
    SELECT x.*, count(*) OVER () AS deliveries FROM invoicing.delivery AS x
    WHERE x.cycle_id = %(cycle_id)s AND x.tenant_id = s.tenant_id
    ORDER BY array_position(ARRAY['in_doubt', 'failed', 'held', 'transmitting', 'claimed', 'pending', 'sent', 'cancelled'], x.state), x.id DESC
    LIMIT 1
) AS d ON true
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
ORDER BY s.position

-- name: key_of_tenant
SELECT code AS key_code, plain_name AS key_name FROM invoicing.tenant WHERE code = %(code)s;

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
SELECT i.series, i.serial, i.number, l.code AS lease, i.property, t.code AS tenant, t.name, i.issued_on, i.due_on, i.subtotal, i.tax, i.withholding, i.total,
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
  AND (%(patterns)s::text[] = '{}' OR invoicing.has_words(t.words, %(patterns)s))
  AND (%(key_series)s::text IS NULL OR (i.series, i.serial) > (%(key_series)s::text, %(key_serial)s::bigint))
ORDER BY i.series, i.serial LIMIT %(limit)s;

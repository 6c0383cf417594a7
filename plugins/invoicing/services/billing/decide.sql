-- name: counted_tenants
-- The tenants of a run's count (or some tenants, counted now), what stands decided about them, whether a message to them is under way or
-- was accepted, whether one is still to be sent, and their invoices that no live first delivery carries.
SELECT t.id AS tenant_id, t.code, t.name, t.emails, t.cc_emails, t.language, t.withholding_agent,
       t.auto_send, t.only_multiple, invoicing.is_held(t.id, %(period)s) AS is_held,
       t.doubtful_address, n.invoices, d.id AS decision_id, d.reason AS decided_reason, d.invoice_count AS decided_count,
       coalesce(m.has_message, false) AS has_message,
       coalesce(m.has_open, false) AS has_open,
       coalesce(u.invoice_ids, '{}') AS uncovered
FROM (
    SELECT tenant_id, invoices FROM invoicing.invoice_count
    WHERE run_id = %(run_id)s AND %(tenant_ids)s::bigint[] IS NULL
    UNION ALL
    SELECT tenant_id, count(*)::integer FROM invoicing.invoice
    WHERE cycle_id = %(cycle_id)s AND origin = 'monthly' AND stands AND tenant_id = ANY(%(tenant_ids)s)
    GROUP BY tenant_id
) AS n
JOIN invoicing.tenant AS t ON t.id = n.tenant_id
LEFT JOIN invoicing.decision AS d
    ON d.tenant_id = t.id AND d.cycle_id = %(cycle_id)s AND d.superseded_at IS NULL
LEFT JOIN (
    SELECT tenant_id, bool_or(has_message) AS has_message, bool_or(NOT has_message) AS has_open
    FROM (
        -- What may have been accepted, and what a person settled as dealt with, is nothing to decide on any more.
        SELECT tenant_id, state IN ('claimed', 'transmitting', 'sent', 'in_doubt') OR given_up
                   OR state IN ('pending', 'held') AND invoicing.may_have_left(id) AS has_message
        FROM invoicing.delivery
        WHERE cycle_id = %(cycle_id)s AND purpose = 'initial' AND (state <> 'cancelled' OR given_up)
    ) AS first GROUP BY tenant_id
) AS m ON m.tenant_id = t.id
LEFT JOIN (
    SELECT i.tenant_id, array_agg(i.id ORDER BY i.serial) AS invoice_ids FROM invoicing.invoice AS i
    WHERE i.cycle_id = %(cycle_id)s AND i.origin = 'monthly' AND i.stands AND NOT i.sent_apart
      AND NOT EXISTS (
          SELECT FROM invoicing.delivery_invoice AS di
          WHERE di.invoice_id = i.id AND di.purpose = 'initial' AND di.live)
    GROUP BY i.tenant_id
) AS u ON u.tenant_id = t.id
ORDER BY t.code;

-- name: undecided_single_invoices
-- Single invoices, credit notes and what is sent with these; `about` is what belongs in one message.
SELECT i.id AS invoice_id, coalesce(i.corrects, i.replaces, i.id) AS about, i.period, t.id AS tenant_id, t.code, t.name, t.emails, t.cc_emails, t.language,
       t.withholding_agent, t.auto_send, t.only_multiple, invoicing.is_held(t.id, i.period) AS is_held
FROM invoicing.invoice AS i JOIN invoicing.tenant AS t ON t.id = i.tenant_id
WHERE (i.origin <> 'monthly' OR i.sent_apart) AND (i.stands OR i.kind = 'credit_note')
  AND NOT EXISTS (
      SELECT FROM invoicing.decision AS d WHERE d.invoice_id = i.id AND d.superseded_at IS NULL)
ORDER BY i.series, i.serial;

-- name: addressee
SELECT id AS tenant_id, code, name, emails, cc_emails, language, withholding_agent, auto_send, only_multiple,
       invoicing.is_held(id, %(period)s) AS is_held
FROM invoicing.tenant WHERE id = %(tenant_id)s;

-- name: decision
SELECT d.run_id, d.cycle_id, d.tenant_id, t.code, d.invoice_count, d.trace
FROM invoicing.decision AS d JOIN invoicing.tenant AS t ON t.id = d.tenant_id
WHERE d.id = %(id)s;

-- name: unchanged_decisions
-- Of decisions that stand, those that come out as they did. There are few different ones: each is given once, and by its place.
SELECT d.id FROM unnest(%(ids)s::bigint[], %(kinds)s::integer[], %(counts)s::integer[]) AS now (id, kind, invoices)
JOIN unnest(%(reasons)s::text[], %(traces)s::text[]) WITH ORDINALITY AS k (reason, trace, kind) ON k.kind = now.kind
JOIN invoicing.decision AS d ON d.id = now.id AND d.cycle_id = %(cycle_id)s AND d.superseded_at IS NULL
WHERE d.reason IS NOT DISTINCT FROM k.reason AND d.invoice_count = now.invoices AND d.trace = k.trace::jsonb;

-- name: supersede_decisions
UPDATE invoicing.decision SET superseded_at = now() WHERE id = ANY(%(ids)s);

-- name: supersede_uncounted
-- A tenant whose invoices no longer stand has nothing to decide.
UPDATE invoicing.decision AS d SET superseded_at = now()
WHERE d.cycle_id = %(cycle_id)s AND d.superseded_at IS NULL
  AND NOT EXISTS (
      SELECT FROM invoicing.invoice AS i
      WHERE i.cycle_id = d.cycle_id AND i.tenant_id = d.tenant_id AND i.origin = 'monthly' AND i.stands);

-- name: copy_decisions
COPY invoicing.decision (run_id, cycle_id, tenant_id, invoice_id, invoice_count, reason, trace) FROM STDIN;

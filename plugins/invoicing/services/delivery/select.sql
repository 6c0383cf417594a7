-- name: cancel_misgrouped
-- Deliveries that nobody has tried yet and that do not fit the run's grouping are made anew.
UPDATE invoicing.delivery AS d
SET state = 'cancelled', actor = %(actor)s, reason = 'grouping changed'
FROM (
    SELECT p.id, count(*) OVER (PARTITION BY p.tenant_id) AS of_tenant,
           (SELECT count(*) FROM invoicing.delivery_invoice AS di WHERE di.delivery_id = p.id AND di.live) AS invoices
    FROM invoicing.delivery AS p
    WHERE p.cycle_id = %(cycle_id)s AND p.purpose = 'initial' AND p.state = 'pending' AND p.attempts = 0
) AS untried
WHERE untried.id = d.id AND d.state = 'pending' AND d.attempts = 0
  AND CASE %(grouping)s WHEN 'per_invoice' THEN untried.invoices > 1 ELSE untried.of_tenant > 1 END;

-- name: cancel_undelivered
-- What was not accepted yet is withdrawn from tenants who get no mail any more; not what may have been accepted, nor
-- what a person gave up.
UPDATE invoicing.delivery SET state = 'cancelled', actor = %(actor)s, reason = %(reason)s
WHERE cycle_id = %(cycle_id)s AND purpose = 'initial' AND state IN ('pending', 'failed', 'held')
  AND tenant_id = ANY(%(tenant_ids)s) AND NOT given_up AND NOT invoicing.may_have_left(id);

-- name: hold_undelivered
-- What a person holds stays as it is, set aside.
UPDATE invoicing.delivery SET state = 'held', actor = %(actor)s, reason = 'a person holds the tenant for this period'
WHERE cycle_id = %(cycle_id)s AND purpose = 'initial' AND state IN ('pending', 'failed')
  AND tenant_id = ANY(%(tenant_ids)s) AND NOT given_up AND NOT invoicing.may_have_left(id);

-- name: take_up_held
-- Nobody holds these tenants any more.
UPDATE invoicing.delivery SET state = 'pending', actor = %(actor)s, reason = 'released'
WHERE cycle_id = %(cycle_id)s AND purpose = 'initial' AND state = 'held' AND tenant_id = ANY(%(tenant_ids)s);

-- name: refresh_open
-- Deliveries that are still to be sent take the run's snapshot and the tenant's addresses of today, unless their message may
-- have left. The run's task takes them up as the run has them: it is their first execution.
UPDATE invoicing.delivery AS d
SET run_id = %(run_id)s, settings_version_id = %(settings_version_id)s,
    template_version_id = %(template_version_id)s, execution = NULL,
    to_addresses = t.emails, cc_addresses = t.cc_emails, language = t.language
FROM invoicing.tenant AS t
WHERE t.id = d.tenant_id AND d.tenant_id = ANY(%(tenant_ids)s)
  AND d.cycle_id = %(cycle_id)s AND d.purpose = 'initial' AND d.state = 'pending'
  AND NOT invoicing.may_have_left(d.id)
  AND (d.run_id, d.settings_version_id, d.template_version_id, d.to_addresses, d.cc_addresses, d.language)
      IS DISTINCT FROM
      (%(run_id)s, %(settings_version_id)s, %(template_version_id)s, t.emails, t.cc_emails, t.language);

-- name: failed_of_tenants
SELECT id FROM invoicing.delivery
WHERE cycle_id = %(cycle_id)s AND purpose = 'initial' AND state = 'failed' AND tenant_id = ANY(%(tenant_ids)s);

-- name: untried_of_tenants
-- Locked: an invoice that joins one of these must not miss a message that a worker is about to compose.
SELECT id, tenant_id FROM invoicing.delivery
WHERE cycle_id = %(cycle_id)s AND purpose = 'initial' AND state = 'pending' AND attempts = 0
  AND tenant_id = ANY(%(tenant_ids)s)
ORDER BY id FOR UPDATE;

-- name: add_deliveries
INSERT INTO invoicing.delivery
    (run_id, cycle_id, tenant_id, period, purpose, message_id, to_addresses, cc_addresses, language,
     settings_version_id, template_version_id, actor)
SELECT %(run_id)s, %(cycle_id)s, x.tenant_id, x.period, 'initial', x.message_id, x.to_addresses, x.cc_addresses,
       x.language, %(settings_version_id)s, %(template_version_id)s, %(actor)s
FROM jsonb_to_recordset(%(rows)s) AS x(
    tenant_id bigint, period text, message_id text, to_addresses text[], cc_addresses text[], language text)
RETURNING id, message_id;

-- name: copy_delivery_invoices
COPY invoicing.delivery_invoice (delivery_id, invoice_id, purpose) FROM STDIN;

-- name: cycle_deliveries_to_send
SELECT id FROM invoicing.delivery
WHERE cycle_id = %(cycle_id)s AND purpose = 'initial' AND state IN ('pending', 'claimed', 'transmitting');

-- name: take_up_other_deliveries
-- Single invoices, and what a person or the doubt policy sends again: no monthly run sends these. What a run tried, or the
-- brake stopped, and left when it ended, stays its own.
WITH due AS (
    SELECT d.id,
           r.ended_at IS NOT NULL AND r.id <> %(run_id)s AND (d.attempts > 0 OR NOT s.auto_send OR NOT t.auto_send) AS is_leftover
    FROM invoicing.delivery AS d
    JOIN invoicing.tenant AS t ON t.id = d.tenant_id
    LEFT JOIN invoicing.cycle_run AS r ON r.id = d.run_id
    CROSS JOIN invoicing.settings_in_force AS s
    WHERE (d.cycle_id IS NULL OR d.on_request) AND d.state IN ('pending', 'claimed', 'transmitting')
), taken AS (
    UPDATE invoicing.delivery AS d SET run_id = %(run_id)s FROM due WHERE due.id = d.id AND NOT coalesce(due.is_leftover, false)
)
SELECT id, coalesce(is_leftover, false) AS is_leftover FROM due;

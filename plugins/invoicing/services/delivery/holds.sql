-- name: find_tenant
-- Whether there is, or will be, anything to hold: an invoice of the period, or a lease that is active in it.
SELECT t.id,
       EXISTS (SELECT FROM invoicing.invoice AS i
               WHERE i.tenant_id = t.id AND i.period = %(period)s AND (i.stands OR i.kind = 'credit_note'))
       OR EXISTS (SELECT FROM invoicing.lease AS l WHERE l.tenant_id = t.id AND l.start_date <= %(last_day)s
                  AND (l.end_date IS NULL OR l.end_date >= %(first_day)s)) AS has_invoices
FROM invoicing.tenant AS t WHERE t.code = %(code)s;

-- name: current_hold
SELECT id, actor FROM invoicing.sending_hold
WHERE period = %(period)s AND tenant_id IS NOT DISTINCT FROM %(tenant_id)s AND released_at IS NULL
FOR UPDATE;

-- name: add_hold
INSERT INTO invoicing.sending_hold (tenant_id, period, reason, actor)
VALUES (%(tenant_id)s, %(period)s, %(reason)s, %(actor)s);

-- name: release_hold
UPDATE invoicing.sending_hold SET released_at = now(), released_by = %(actor)s, release_reason = %(reason)s
WHERE id = %(id)s;

-- name: end_claims
-- A claim alone has sent nothing: its worker's mark finds it gone.
UPDATE invoicing.delivery SET state = 'pending', claim_until = NULL, actor = %(actor)s, reason = %(reason)s
WHERE period = %(period)s AND (%(tenant_id)s::bigint IS NULL OR tenant_id = %(tenant_id)s) AND state = 'claimed';

-- name: set_aside
UPDATE invoicing.delivery SET state = 'held', actor = %(actor)s, reason = %(reason)s
WHERE period = %(period)s AND (%(tenant_id)s::bigint IS NULL OR tenant_id = %(tenant_id)s)
  AND state IN ('pending', 'failed') AND NOT given_up AND NOT invoicing.may_have_left(id)
RETURNING id;

-- name: under_way
SELECT id FROM invoicing.delivery
WHERE period = %(period)s AND (%(tenant_id)s::bigint IS NULL OR tenant_id = %(tenant_id)s) AND state = 'transmitting'
ORDER BY id;

-- name: decided_to_send
-- The tenant's standing decision, where nothing of it may have left.
SELECT d.id FROM invoicing.decision AS d
WHERE d.cycle_id = %(cycle_id)s AND d.tenant_id = %(tenant_id)s AND d.superseded_at IS NULL AND d.reason IS NULL
  AND NOT EXISTS (
      SELECT FROM invoicing.delivery AS v
      WHERE v.cycle_id = d.cycle_id AND v.tenant_id = d.tenant_id AND v.purpose = 'initial'
        AND v.state NOT IN ('held', 'cancelled'));

-- name: held_deliveries
SELECT id FROM invoicing.delivery
WHERE period = %(period)s AND tenant_id = %(tenant_id)s AND state = 'held' ORDER BY id;

-- name: resume_asked_for
-- What no run of the month makes: resends and single invoices. Somebody asked for them before the hold.
UPDATE invoicing.delivery SET state = 'pending', run_id = NULL, actor = %(actor)s, reason = %(reason)s
WHERE period = %(period)s AND tenant_id = %(tenant_id)s AND state = 'held' AND (purpose = 'resend' OR cycle_id IS NULL)
  AND NOT invoicing.is_held(tenant_id, period)
RETURNING id;

-- name: latest_run
SELECT max(id) AS id FROM invoicing.cycle_run WHERE cycle_id = %(cycle_id)s;

-- name: decided_held
-- Tenants on whom a run decided while the month was stopped, and whom nobody holds by name.
SELECT tenant_id FROM invoicing.decision
WHERE cycle_id = %(cycle_id)s AND superseded_at IS NULL AND reason = 'tenant_held'
  AND NOT invoicing.is_held(tenant_id, %(period)s);

-- name: resume
-- The month goes on: what the stop had set aside is sent, and what is decided on anew, save what is held by the tenant's
-- name, and what nobody approved, where that is asked for: the next run of the month asks.
UPDATE invoicing.delivery AS d SET state = 'pending', on_request = true, run_id = NULL, actor = %(actor)s, reason = %(reason)s
WHERE d.period = %(period)s AND NOT invoicing.is_held(d.tenant_id, d.period)
  AND (d.state = 'held' OR d.state = 'pending' AND NOT d.on_request AND d.purpose = 'initial' AND d.tenant_id = ANY(%(anew)s))
  AND NOT invoicing.lacks_approval(d.id, d.to_addresses, d.cc_addresses, d.language, d.settings_version_id,
                                   d.template_version_id)
RETURNING d.id;

-- name: keep_unapproved_aside
UPDATE invoicing.delivery SET state = 'held', actor = %(actor)s, reason = 'nobody approved it: the next run of the month asks'
WHERE period = %(period)s AND state = 'pending' AND NOT on_request AND purpose = 'initial' AND tenant_id = ANY(%(anew)s);

-- name: cancel_misgrouped
-- Deliveries that nobody has tried yet and that do not fit the run's grouping are made anew.
UPDATE invoicing.delivery AS d
SET state = 'cancelled', actor = %(actor)s, reason = 'grouping changed'
FROM (
    SELECT p.id, count(*) OVER (PARTITION BY p.tenant_id) AS of_tenant,
           (SELECT count(*) FROM invoicing.delivery_invoice AS di WHERE di.delivery_id = p.id) AS invoices
    FROM invoicing.delivery AS p
    WHERE p.cycle_id = %(cycle_id)s AND p.purpose = 'initial' AND p.state = 'pending' AND p.attempts = 0
) AS untried
WHERE untried.id = d.id AND d.state = 'pending' AND d.attempts = 0
  AND CASE %(grouping)s WHEN 'per_invoice' THEN untried.invoices > 1 ELSE untried.of_tenant > 1 END;

-- name: cancel_undelivered
-- What was not accepted yet is withdrawn from tenants who get no mail any more.
UPDATE invoicing.delivery SET state = 'cancelled', actor = %(actor)s, reason = %(reason)s
WHERE cycle_id = %(cycle_id)s AND purpose = 'initial' AND state IN ('pending', 'failed', 'held')
  AND tenant_id = ANY(%(tenant_ids)s);

-- name: refresh_untried
-- Deliveries that nobody has tried yet take the run's snapshot and the tenant's addresses of today.
UPDATE invoicing.delivery AS d
SET run_id = %(run_id)s, settings_version_id = %(settings_version_id)s,
    template_version_id = %(template_version_id)s,
    to_addresses = t.emails, cc_addresses = t.cc_emails, language = t.language
FROM invoicing.tenant AS t
WHERE t.id = d.tenant_id AND d.tenant_id = ANY(%(tenant_ids)s)
  AND d.cycle_id = %(cycle_id)s AND d.purpose = 'initial' AND d.state = 'pending' AND d.attempts = 0
  AND (d.run_id, d.settings_version_id, d.template_version_id, d.to_addresses, d.cc_addresses, d.language)
      IS DISTINCT FROM
      (%(run_id)s, %(settings_version_id)s, %(template_version_id)s, t.emails, t.cc_emails, t.language);

-- name: reopen_failed
-- The relay is known to have accepted nothing: it may be tried again, at the addresses of today.
UPDATE invoicing.delivery AS d
SET state = 'pending', to_addresses = t.emails, cc_addresses = t.cc_emails, actor = %(actor)s, reason = %(reason)s
FROM invoicing.tenant AS t
WHERE t.id = d.tenant_id AND d.state = 'failed' AND NOT d.given_up AND d.id = ANY(%(ids)s)
  AND cardinality(t.emails) > 0;

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
SELECT d.id, t.code, t.name FROM invoicing.delivery AS d
JOIN invoicing.tenant AS t ON t.id = d.tenant_id
WHERE d.cycle_id = %(cycle_id)s AND d.purpose = 'initial' AND d.state IN ('pending', 'claimed', 'transmitting')
ORDER BY t.code, d.id;

-- name: take_up_other_deliveries
-- Single invoices, and what a person or the doubt policy sends again: no monthly run sends these.
WITH due AS (
    UPDATE invoicing.delivery SET run_id = %(run_id)s
    WHERE (cycle_id IS NULL OR on_request) AND state IN ('pending', 'claimed', 'transmitting')
    RETURNING id, tenant_id
)
SELECT due.id, t.code, t.name FROM due JOIN invoicing.tenant AS t ON t.id = due.tenant_id
ORDER BY t.code, due.id;

-- name: waiting_for_nobody
-- What `send_new_invoices` is to do and no run of it has taken up: it was not told, or its telling was lost.
SELECT (SELECT count(*) FROM invoicing.invoice AS i
        WHERE i.origin = 'single' AND i.state = 'issued' AND NOT EXISTS (
            SELECT FROM invoicing.decision AS d WHERE d.invoice_id = i.id AND d.superseded_at IS NULL))
     + (SELECT count(*) FROM invoicing.delivery
        WHERE (cycle_id IS NULL OR on_request) AND state = 'pending' AND run_id IS NULL) AS waiting;

-- name: counts_of_run
SELECT state, count(*) AS deliveries FROM invoicing.delivery WHERE run_id = %(run_id)s GROUP BY state;

-- name: delivery
SELECT d.*, t.code AS tenant_code, t.name AS tenant_current_name FROM invoicing.delivery AS d
JOIN invoicing.tenant AS t ON t.id = d.tenant_id
WHERE d.id = %(id)s;

-- name: invoice_ids_of_delivery
SELECT di.invoice_id FROM invoicing.delivery_invoice AS di
JOIN invoicing.invoice AS i ON i.id = di.invoice_id
WHERE di.delivery_id = %(id)s ORDER BY i.series, i.serial;

-- name: expire
-- A transmission whose worker is gone may have been accepted: in doubt. `owner` is the task instance that asks:
-- what an earlier try of its own left behind is over, however long its lease.
UPDATE invoicing.delivery
SET state = 'in_doubt', lease_until = NULL, actor = %(actor)s,
    reason = 'the worker ended or went silent while it transmitted'
WHERE state = 'transmitting' AND id = ANY(%(ids)s) AND (lease_until < now() OR claimed_by = %(owner)s)
RETURNING id;

-- name: adopt_acceptances
-- An attempt whose acceptance became known late, when the delivery had already been put back or given up:
-- there is nothing left to be sent.
UPDATE invoicing.delivery AS d
SET state = 'sent', last_reply = a.reply, actor = %(actor)s, reason = 'an earlier attempt was accepted after all'
FROM invoicing.delivery_attempt AS a
WHERE a.delivery_id = d.id AND a.verdict = 'accepted' AND d.state IN ('pending', 'failed', 'in_doubt')
  AND (%(ids)s::bigint[] IS NULL OR d.id = ANY(%(ids)s))
RETURNING d.id;

-- name: claim
-- Leases one delivery to one worker. A claim alone has sent nothing: one whose lease is over, or that an
-- earlier try of the same task instance left behind, is taken over; its worker's token no longer counts.
WITH claimed AS (
    UPDATE invoicing.delivery
    SET state = 'claimed', lease_token = lease_token + 1, lease_until = now() + %(lease)s,
        claimed_by = %(owner)s, execution = %(execution)s, attempts = attempts + 1, actor = %(actor)s, reason = NULL
    WHERE id = %(id)s
      AND (state = 'pending' OR state = 'claimed' AND (lease_until < now() OR claimed_by = %(owner)s))
    RETURNING id, lease_token
), attempt AS (
    INSERT INTO invoicing.delivery_attempt (delivery_id, lease_token, claimed_by, host)
    SELECT id, lease_token, %(actor)s, %(host)s FROM claimed
)
SELECT lease_token FROM claimed;

-- name: mark
-- From here on nothing but a reply, or a person, takes the delivery out of `transmitting`.
WITH marked AS (
    UPDATE invoicing.delivery SET state = 'transmitting', lease_until = now() + %(lease)s
    WHERE id = %(id)s AND lease_token = %(token)s AND state = 'claimed'
      AND NOT EXISTS (
          SELECT FROM invoicing.delivery_attempt AS a WHERE a.delivery_id = %(id)s AND a.verdict = 'accepted')
    RETURNING id, lease_token
), attempt AS (
    UPDATE invoicing.delivery_attempt AS a
    SET marked_at = clock_timestamp(), phase = 'payload', payload_sha256 = %(payload_sha256)s
    FROM marked WHERE a.delivery_id = marked.id AND a.lease_token = marked.lease_token
)
SELECT id FROM marked;

-- name: settle
-- The worker's own word on its own attempt, recognised by the token; it still counts when the delivery was
-- put in doubt over the worker's silence.
WITH settled AS (
    UPDATE invoicing.delivery
    SET state = %(state)s, lease_until = NULL, last_reply = %(reply)s, reason = %(reason)s, actor = %(actor)s
    WHERE id = %(id)s AND lease_token = %(token)s AND state = ANY(%(from_states)s) AND state <> %(state)s
    RETURNING id
), attempt AS (
    UPDATE invoicing.delivery_attempt
    SET ended_at = clock_timestamp(), verdict = %(verdict)s, phase = %(phase)s, code = %(code)s, reply = %(reply)s
    WHERE delivery_id = %(id)s AND lease_token = %(token)s
)
SELECT id FROM settled;

-- name: resolve
-- A person's word on a doubt; it counts once.
UPDATE invoicing.delivery
SET state = %(state)s, on_request = on_request OR %(state)s = 'pending', given_up = %(state)s = 'failed',
    run_id = CASE WHEN %(state)s <> 'pending' THEN run_id END, actor = %(actor)s, reason = %(reason)s
WHERE id = %(id)s AND state = 'in_doubt'
RETURNING id;

-- name: lock_deliveries
SELECT d.*, t.code AS tenant_code, t.emails, t.cc_emails, t.language AS tenant_language
FROM invoicing.delivery AS d JOIN invoicing.tenant AS t ON t.id = d.tenant_id
WHERE d.id = ANY(%(ids)s) ORDER BY d.id FOR UPDATE OF d;

-- name: lock_family
-- All deliveries of the same invoices: the first, and every one that sent them again.
SELECT id, state FROM invoicing.delivery
WHERE coalesce(resend_of, id) IN (SELECT coalesce(resend_of, id) FROM invoicing.delivery WHERE id = ANY(%(ids)s))
ORDER BY id FOR UPDATE;

-- name: unfinished_of_family
SELECT id, state FROM invoicing.delivery
WHERE coalesce(resend_of, id) = (SELECT coalesce(resend_of, id) FROM invoicing.delivery WHERE id = %(id)s)
  AND id <> %(id)s AND state NOT IN ('sent', 'failed', 'cancelled')
ORDER BY id LIMIT 1;

-- name: add_resend
WITH added AS (
    INSERT INTO invoicing.delivery
        (cycle_id, tenant_id, period, purpose, generation, resend_of, message_id, to_addresses, cc_addresses,
         language, settings_version_id, template_version_id, on_request, actor, reason)
    SELECT d.cycle_id, d.tenant_id, d.period, 'resend',
           1 + (SELECT max(g.generation) FROM invoicing.delivery AS g
                WHERE coalesce(g.resend_of, g.id) = coalesce(d.resend_of, d.id)),
           coalesce(d.resend_of, d.id), %(message_id)s, t.emails, t.cc_emails, t.language,
           %(settings_version_id)s, %(template_version_id)s, true, %(actor)s, %(reason)s
    FROM invoicing.delivery AS d JOIN invoicing.tenant AS t ON t.id = d.tenant_id
    WHERE d.id = %(id)s
    RETURNING id
), invoices AS (
    SELECT added.id, di.invoice_id FROM added, invoicing.delivery_invoice AS di WHERE di.delivery_id = %(id)s
)
SELECT id, invoice_id FROM invoices;

-- name: request_failed
UPDATE invoicing.delivery AS d
SET state = 'pending', on_request = true, given_up = false, run_id = NULL, to_addresses = t.emails,
    cc_addresses = t.cc_emails, actor = %(actor)s, reason = %(reason)s
FROM invoicing.tenant AS t WHERE t.id = d.tenant_id AND d.id = %(id)s AND d.state = 'failed';

-- name: free_claims
-- A claim alone has sent nothing.
UPDATE invoicing.delivery
SET state = 'pending', lease_until = NULL, actor = %(actor)s, reason = 'the worker that claimed it went silent'
WHERE state = 'claimed' AND lease_until < now()
RETURNING id;

-- name: doubt_transmissions
UPDATE invoicing.delivery
SET state = 'in_doubt', lease_until = NULL, actor = %(actor)s, reason = 'the worker went silent while it transmitted'
WHERE state = 'transmitting' AND lease_until < now()
RETURNING id;

-- name: release_doubts
-- The agency chose at-least-once: what is in doubt for long enough goes out again, under the same Message-ID, a
-- few times at the most. Doubts older than the choice are not meant by it.
UPDATE invoicing.delivery
SET state = 'pending', on_request = true, run_id = NULL, doubt_resends = doubt_resends + 1, actor = %(actor)s,
    reason = 'in doubt for longer than the policy allows'
WHERE state = 'in_doubt' AND updated_at < now() - %(after)s AND doubt_resends < %(most)s
  AND updated_at > (
      SELECT coalesce(max(created_at), '-infinity') FROM invoicing.settings_version
      WHERE settings ->> 'doubt_policy' IS DISTINCT FROM 'resend_after')
RETURNING id;

-- name: lock_slots
SELECT pg_advisory_xact_lock(hashtext('invoicing.transmission_slot'));

-- name: mend_slots
-- The database's clock was set back: what it calls the future ended just now, at the latest.
UPDATE invoicing.transmission_slot
SET taken_at = least(taken_at, clock_timestamp()),
    ended_at = CASE WHEN ended_at IS NOT NULL THEN least(ended_at, clock_timestamp()) END
WHERE taken_at > clock_timestamp() OR ended_at > clock_timestamp();

-- name: slots_in_use
-- Transmissions under way, or ended within the last minute; and how long until the oldest of these is over.
SELECT count(*) AS used,
       coalesce(extract(epoch FROM min(ended_at) + interval '60 seconds' - clock_timestamp()), 1)::float8 AS wait_seconds
FROM invoicing.transmission_slot
WHERE ended_at > clock_timestamp() - interval '60 seconds'
   OR ended_at IS NULL AND taken_at > clock_timestamp() - %(lease)s;

-- name: take_slot
INSERT INTO invoicing.transmission_slot DEFAULT VALUES RETURNING id;

-- name: forget_slots
DELETE FROM invoicing.transmission_slot WHERE taken_at < clock_timestamp() - interval '1 day';

-- name: end_slot
UPDATE invoicing.transmission_slot SET ended_at = clock_timestamp() WHERE id = %(id)s;

-- name: return_slot
DELETE FROM invoicing.transmission_slot WHERE id = %(id)s;

-- name: delivery
-- With what is in force now: the brake (the global switch, the tenant's own, or a person's hold), the limit, whether there is an address.
SELECT d.id, t.code AS tenant_code, d.state, d.message_id, d.message_date, d.to_addresses, d.cc_addresses, d.language,
       d.settings_version_id, d.template_version_id, d.execution, d.last_reply, d.reason,
       CASE WHEN NOT s.auto_send THEN 'sending_disabled' WHEN NOT t.auto_send THEN 'tenant_disabled'
            WHEN invoicing.is_held(d.tenant_id, d.period) THEN 'tenant_held' END AS brake,
       s.per_minute_limit, cardinality(t.emails) > 0 AS has_address
FROM invoicing.delivery AS d
JOIN invoicing.tenant AS t ON t.id = d.tenant_id
CROSS JOIN invoicing.settings_in_force AS s
WHERE d.id = %(id)s;

-- name: adopt_acceptances
-- An attempt whose acceptance became known late, when the delivery had already been put back, given up or withdrawn:
-- there is nothing left to be sent.
UPDATE invoicing.delivery AS d
SET state = 'sent', last_reply = a.reply, actor = %(actor)s, reason = 'an earlier attempt was accepted after all'
FROM invoicing.delivery_attempt AS a
WHERE a.delivery_id = d.id AND a.verdict = 'accepted'
  AND d.state IN ('pending', 'failed', 'in_doubt', 'held', 'cancelled')
  AND (%(ids)s::bigint[] IS NULL OR d.id = ANY(%(ids)s))
RETURNING d.id;

-- name: cancel_overtaken
-- A withdrawn delivery turned out to have been accepted: what was made since of the same invoices, and has not left, is
-- withdrawn in its place.
UPDATE invoicing.delivery AS d
SET state = 'cancelled', actor = %(actor)s, reason = 'an earlier delivery of its invoices was accepted after all'
WHERE d.purpose = 'initial' AND d.state IN ('pending', 'failed', 'held') AND NOT invoicing.may_have_left(d.id)
  AND d.id IN (
      SELECT other.delivery_id
      FROM invoicing.delivery AS withdrawn
      JOIN invoicing.delivery_attempt AS a ON a.delivery_id = withdrawn.id AND a.verdict = 'accepted'
      JOIN invoicing.delivery_invoice AS mine ON mine.delivery_id = withdrawn.id
      JOIN invoicing.delivery_invoice AS other ON other.invoice_id = mine.invoice_id AND other.delivery_id <> withdrawn.id
      WHERE withdrawn.state = 'cancelled')
  AND NOT EXISTS (
      SELECT FROM invoicing.delivery_invoice AS mine
      WHERE mine.delivery_id = d.id AND NOT EXISTS (
          SELECT FROM invoicing.delivery_invoice AS carried
          JOIN invoicing.delivery_attempt AS a ON a.delivery_id = carried.delivery_id AND a.verdict = 'accepted'
          WHERE carried.invoice_id = mine.invoice_id));

-- name: doubt_abandoned
-- A transmission whose worker is gone may have been accepted: in doubt. `owner` is the task instance that asks:
-- what an earlier try of its own left behind is over, however long its claim.
UPDATE invoicing.delivery
SET state = 'in_doubt', claim_until = NULL, actor = %(actor)s,
    reason = 'the worker ended or went silent while it transmitted'
WHERE state = 'transmitting' AND id = ANY(%(ids)s) AND (claim_until < now() OR claimed_by = %(owner)s)
RETURNING id;

-- name: reopen_failed
-- The relay is known to have accepted nothing: it may be tried again, at the addresses of today.
UPDATE invoicing.delivery AS d
SET state = 'pending', to_addresses = t.emails, cc_addresses = t.cc_emails, actor = %(actor)s, reason = %(reason)s
FROM invoicing.tenant AS t
WHERE t.id = d.tenant_id AND d.state = 'failed' AND NOT d.given_up AND d.id = ANY(%(ids)s)
  AND cardinality(t.emails) > 0 AND NOT invoicing.may_have_left(d.id);

-- name: claim
-- Gives one delivery to one worker, unless the automatic sending is off, globally or the tenant's, or a person holds the
-- tenant: the brake is asked here, whatever was decided before. So is whether a person approved what leaves, where the
-- settings ask for that. A claim alone has sent nothing: one that is over, or that an earlier try of the same
-- task instance left behind, is taken over; its worker's token no longer counts. A new execution takes the addresses,
-- settings and template of today, unless the message may have left; what sends again with the words of then (it needs no
-- approval), the addresses alone. Who did not look up what is of today, since it did not seem to be needed, gets no claim
-- where it is.
WITH due AS (
    SELECT d.id, d.tenant_id, d.execution IS DISTINCT FROM %(execution)s AND (d.execution IS NOT NULL OR %(is_repeated)s)
               AND NOT invoicing.may_have_left(d.id) AS renew
    FROM invoicing.delivery AS d
    WHERE d.id = %(id)s
      AND (d.state = 'pending' OR d.state = 'claimed' AND (d.claim_until < now() OR d.claimed_by = %(owner)s))
    FOR UPDATE
), claimed AS (
    UPDATE invoicing.delivery AS d
    SET state = 'claimed', claim_token = d.claim_token + 1, claim_until = now() + %(duration)s, claimed_by = %(owner)s,
        execution = %(execution)s, attempts = d.attempts + 1, actor = %(actor)s, reason = NULL,
        to_addresses = CASE WHEN due.renew THEN t.emails ELSE d.to_addresses END,
        cc_addresses = CASE WHEN due.renew THEN t.cc_emails ELSE d.cc_addresses END,
        language = CASE WHEN due.renew AND NOT d.keeps_words THEN t.language ELSE d.language END,
        message_date = CASE WHEN due.renew THEN now() ELSE d.message_date END,
        settings_version_id = CASE WHEN due.renew AND NOT d.keeps_words THEN %(settings_version_id)s::bigint
                                   ELSE d.settings_version_id END,
        template_version_id = CASE WHEN due.renew AND NOT d.keeps_words THEN %(template_version_id)s::bigint
                                   ELSE d.template_version_id END
    FROM due JOIN invoicing.tenant AS t ON t.id = due.tenant_id CROSS JOIN invoicing.settings_in_force AS s
    WHERE d.id = due.id AND s.auto_send AND t.auto_send AND NOT invoicing.is_held_now(d.tenant_id, d.period)
      AND (NOT due.renew OR cardinality(t.emails) > 0 AND %(settings_version_id)s::bigint IS NOT NULL)
      AND NOT CASE WHEN due.renew
                   THEN invoicing.lacks_approval(d.id, t.emails, t.cc_emails, t.language, %(settings_version_id)s,
                                                 %(template_version_id)s)
                   ELSE invoicing.lacks_approval(d.id, d.to_addresses, d.cc_addresses, d.language, d.settings_version_id,
                                                 d.template_version_id) END
    RETURNING d.id, d.claim_token, d.message_date, d.to_addresses, d.cc_addresses, d.language, d.settings_version_id,
              d.template_version_id
), attempt AS (
    INSERT INTO invoicing.delivery_attempt (delivery_id, claim_token, claimed_by, host)
    SELECT id, claim_token, %(actor)s, %(host)s FROM claimed
)
SELECT claim_token, message_date, to_addresses, cc_addresses, language, settings_version_id, template_version_id
FROM claimed;

-- name: lacks_approval
-- Whether `claim` would refuse it for want of an approval, as it stands or as a new execution would renew it.
SELECT CASE WHEN d.execution IS DISTINCT FROM %(execution)s AND (d.execution IS NOT NULL OR %(is_repeated)s)
                 AND NOT invoicing.may_have_left(d.id)
            THEN invoicing.lacks_approval(d.id, t.emails, t.cc_emails, t.language, %(settings_version_id)s,
                                          %(template_version_id)s)
            ELSE invoicing.lacks_approval(d.id, d.to_addresses, d.cc_addresses, d.language, d.settings_version_id,
                                          d.template_version_id) END AS lacks_approval
FROM invoicing.delivery AS d JOIN invoicing.tenant AS t ON t.id = d.tenant_id
WHERE d.id = %(id)s;

-- name: mark
-- From here on nothing but a reply, or a person, takes the delivery out of `transmitting`. A hold ends the claims that it
-- sees; one that was being made meanwhile, and had not seen the hold, meets it here: the hold may keep the row locked
-- until it is committed, so it is asked for once the row is had.
WITH claimed AS MATERIALIZED (
    SELECT id, tenant_id, period FROM invoicing.delivery
    WHERE id = %(id)s AND claim_token = %(token)s AND state = 'claimed' FOR NO KEY UPDATE
), marked AS (
    UPDATE invoicing.delivery AS d SET state = 'transmitting', claim_until = now() + %(duration)s
    FROM claimed WHERE d.id = claimed.id AND NOT invoicing.is_held_now(claimed.tenant_id, claimed.period)
      AND NOT EXISTS (
          SELECT FROM invoicing.delivery_attempt AS a WHERE a.delivery_id = %(id)s AND a.verdict = 'accepted')
    RETURNING d.id, d.claim_token
), attempt AS (
    UPDATE invoicing.delivery_attempt AS a
    SET marked_at = clock_timestamp(), phase = 'payload', payload_sha256 = %(payload_sha256)s
    FROM marked WHERE a.delivery_id = marked.id AND a.claim_token = marked.claim_token
)
SELECT id FROM marked;

-- name: settle
-- The worker's own word on its own attempt, recognised by the token; it still counts when the delivery was
-- put in doubt over the worker's silence.
WITH settled AS (
    UPDATE invoicing.delivery
    SET state = %(state)s, claim_until = NULL, last_reply = %(reply)s, reason = %(reason)s, actor = %(actor)s
    WHERE id = %(id)s AND claim_token = %(token)s AND state = ANY(%(from_states)s) AND state <> %(state)s
    RETURNING id
), attempt AS (
    UPDATE invoicing.delivery_attempt
    SET ended_at = clock_timestamp(), verdict = %(verdict)s, phase = %(phase)s, code = %(code)s, reply = %(reply)s
    WHERE delivery_id = %(id)s AND claim_token = %(token)s
)
SELECT id FROM settled;

-- name: attempt
SELECT delivery_id FROM invoicing.delivery_attempt WHERE delivery_id = %(id)s AND claim_token = %(token)s;

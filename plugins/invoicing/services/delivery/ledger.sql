-- name: delivery
SELECT d.id, t.code AS tenant_code, d.state, d.message_id, d.message_date, d.to_addresses, d.cc_addresses, d.language,
       d.settings_version_id, d.template_version_id, d.execution, d.last_reply, d.reason
FROM invoicing.delivery AS d
JOIN invoicing.tenant AS t ON t.id = d.tenant_id
WHERE d.id = %(id)s;

-- name: adopt_acceptances
-- An attempt whose acceptance became known late, when the delivery had already been put back or given up:
-- there is nothing left to be sent.
UPDATE invoicing.delivery AS d
SET state = 'sent', last_reply = a.reply, actor = %(actor)s, reason = 'an earlier attempt was accepted after all'
FROM invoicing.delivery_attempt AS a
WHERE a.delivery_id = d.id AND a.verdict = 'accepted' AND d.state IN ('pending', 'failed', 'in_doubt')
  AND (%(ids)s::bigint[] IS NULL OR d.id = ANY(%(ids)s))
RETURNING d.id;

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
  AND cardinality(t.emails) > 0;

-- name: claim
-- Gives one delivery to one worker. A claim alone has sent nothing: one that is over, or that an
-- earlier try of the same task instance left behind, is taken over; its worker's token no longer counts.
WITH claimed AS (
    UPDATE invoicing.delivery
    SET state = 'claimed', claim_token = claim_token + 1, claim_until = now() + %(duration)s,
        claimed_by = %(owner)s, execution = %(execution)s, attempts = attempts + 1, actor = %(actor)s, reason = NULL
    WHERE id = %(id)s
      AND (state = 'pending' OR state = 'claimed' AND (claim_until < now() OR claimed_by = %(owner)s))
    RETURNING id, claim_token
), attempt AS (
    INSERT INTO invoicing.delivery_attempt (delivery_id, claim_token, claimed_by, host)
    SELECT id, claim_token, %(actor)s, %(host)s FROM claimed
)
SELECT claim_token FROM claimed;

-- name: mark
-- From here on nothing but a reply, or a person, takes the delivery out of `transmitting`.
WITH marked AS (
    UPDATE invoicing.delivery SET state = 'transmitting', claim_until = now() + %(duration)s
    WHERE id = %(id)s AND claim_token = %(token)s AND state = 'claimed'
      AND NOT EXISTS (
          SELECT FROM invoicing.delivery_attempt AS a WHERE a.delivery_id = %(id)s AND a.verdict = 'accepted')
    RETURNING id, claim_token
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

-- name: deliveries_to_show
-- Of a tenant in a cycle, or the one that is asked for; newest first.
SELECT d.id, d.period, d.cycle_id, d.state, d.purpose, d.generation, d.resend_of, d.message_id, d.message_date,
       d.to_addresses, d.cc_addresses, d.language, d.attempts, d.last_reply, d.actor, d.reason, d.created_at,
       d.updated_at, d.settings_version_id, d.claimed_by, d.doubt_resends, d.on_request,
       invoicing.may_have_left(d.id) AS may_have_left, d.given_up, t.code AS tenant, t.name AS tenant_name,
       t.emails, t.updated_at AS tenant_updated_at, v.name AS template_name, v.version AS template_number,
       array(SELECT i.number FROM invoicing.delivery_invoice AS di
             JOIN invoicing.invoice AS i ON i.id = di.invoice_id
             WHERE di.delivery_id = d.id AND (i.state <> 'void' OR d.state = 'cancelled')
             ORDER BY i.series, i.serial) AS invoices
FROM invoicing.delivery AS d
JOIN invoicing.tenant AS t ON t.id = d.tenant_id
JOIN invoicing.template_version AS v ON v.id = d.template_version_id
WHERE CASE WHEN %(id)s::bigint IS NULL THEN d.cycle_id = %(cycle_id)s AND d.tenant_id = %(tenant_id)s ELSE d.id = %(id)s END
ORDER BY d.id DESC LIMIT 60;

-- name: events_of_deliveries
SELECT delivery_id, at, from_state, to_state, actor, reason, reply
FROM invoicing.delivery_event WHERE delivery_id = ANY(%(ids)s) ORDER BY id;

-- name: attempts_of_deliveries
SELECT delivery_id, claimed_by, host, started_at, marked_at, ended_at, verdict, phase, code, reply
FROM invoicing.delivery_attempt WHERE delivery_id = ANY(%(ids)s) ORDER BY delivery_id, claim_token;

-- name: other_deliveries_found
-- What a person or the doubt policy sent again; what one run of `send_new_invoices` sent; what one task instance had.
SELECT count(*) OVER () AS total, d.id AS delivery_id, d.period, d.cycle_id, t.code AS tenant, t.name, d.state, d.purpose, d.generation,
       d.resend_of, d.attempts, d.last_reply, asked.actor, asked.reason, d.updated_at,
       array(SELECT i.number FROM invoicing.delivery_invoice AS di
             JOIN invoicing.invoice AS i ON i.id = di.invoice_id
             WHERE di.delivery_id = d.id AND (i.state <> 'void' OR d.state = 'cancelled')
             ORDER BY i.series, i.serial) AS invoices
FROM invoicing.delivery AS d JOIN invoicing.tenant AS t ON t.id = d.tenant_id
LEFT JOIN LATERAL (
    SELECT e.actor, e.reason FROM invoicing.delivery_event AS e
    WHERE e.delivery_id = d.id AND e.to_state = 'pending' ORDER BY e.reason IS NULL, e.id DESC LIMIT 1
) AS asked ON true
WHERE CASE WHEN %(owner)s::text IS NOT NULL THEN d.claimed_by = %(owner)s
           WHEN %(run_id)s::bigint IS NOT NULL THEN d.run_id = %(run_id)s
           ELSE d.purpose = 'resend' OR d.on_request END
  AND (%(patterns)s::text[] = '{}' OR invoicing.has_words(t.words, %(patterns)s))
ORDER BY d.id DESC LIMIT %(limit)s OFFSET %(offset)s;

-- name: open_request
-- What is asked about the month and nobody answered; there is one at the most.
SELECT q.id, q.run_id, q.fingerprint FROM invoicing.approval_request AS q
WHERE q.cycle_id = %(cycle_id)s AND q.scope = 'month'
  AND NOT EXISTS (SELECT FROM invoicing.approval_answer AS a WHERE a.request_id = q.id)
ORDER BY q.id DESC LIMIT 1;

-- name: latest_request
-- Whatever became of it.
SELECT q.id, q.asked_at, a.answer, a.actor, a.reason, a.at FROM invoicing.approval_request AS q
LEFT JOIN invoicing.approval_answer AS a ON a.request_id = q.id
WHERE q.cycle_id = %(cycle_id)s AND q.scope = 'month'
ORDER BY q.id DESC LIMIT 1;

-- name: summary
SELECT fingerprint, summary, asked_at FROM invoicing.approval_request WHERE id = %(id)s;

-- name: stale_tenants
-- Those whose message to be is no longer what it would be made of today, or who would be decided on otherwise.
SELECT DISTINCT d.tenant_id FROM invoicing.delivery AS d
JOIN invoicing.tenant AS t ON t.id = d.tenant_id
LEFT JOIN invoicing.decision AS c ON c.cycle_id = d.cycle_id AND c.tenant_id = d.tenant_id AND c.superseded_at IS NULL
WHERE d.cycle_id = %(cycle_id)s AND d.purpose = 'initial' AND d.state = 'pending' AND NOT d.on_request
  AND NOT invoicing.may_have_left(d.id)
  AND (NOT t.auto_send OR t.only_multiple AND c.invoice_count < 2
       OR (d.settings_version_id, d.template_version_id, d.to_addresses, d.cc_addresses, d.language)
          IS DISTINCT FROM (%(settings_version_id)s, %(template_version_id)s, t.emails, t.cc_emails, t.language));

-- name: about_to_leave
-- What the month's runs would send now, each with the fingerprint of its content; whether somebody has to approve it first.
WITH asking AS MATERIALIZED (
    -- Settings have a picture in them: not looked at once per delivery.
    SELECT id FROM invoicing.settings_version
    WHERE id IN (SELECT settings_version_id FROM invoicing.delivery WHERE cycle_id = %(cycle_id)s AND state = 'pending')
      AND settings ->> 'approval' IN ('always', 'changed')
), due AS MATERIALIZED (
    SELECT d.id, d.settings_version_id,
           invoicing.delivery_fingerprint(d.id, d.to_addresses, d.cc_addresses, d.language, d.settings_version_id,
                                          d.template_version_id) AS fingerprint
    FROM invoicing.delivery AS d
    WHERE d.cycle_id = %(cycle_id)s AND d.purpose = 'initial' AND d.state = 'pending' AND NOT d.on_request
)
SELECT id, fingerprint,
       settings_version_id IN (SELECT id FROM asking) AND NOT invoicing.is_approved(id, fingerprint) AS lacks_approval
FROM due ORDER BY id;

-- name: unapproved_today
-- Those of some deliveries that nobody approved as they would leave now (as they are, where they may have left before),
-- each with the fingerprint of that.
WITH content AS (
    SELECT d.id, d.cycle_id,
           CASE WHEN f.frozen THEN d.to_addresses ELSE t.emails END AS to_addresses,
           CASE WHEN f.frozen THEN d.cc_addresses ELSE t.cc_emails END AS cc_addresses,
           CASE WHEN f.frozen THEN d.language ELSE t.language END AS language,
           CASE WHEN f.frozen THEN d.settings_version_id ELSE %(settings_version_id)s END AS settings_version_id,
           CASE WHEN f.frozen THEN d.template_version_id ELSE %(template_version_id)s END AS template_version_id
    FROM invoicing.delivery AS d JOIN invoicing.tenant AS t ON t.id = d.tenant_id
    CROSS JOIN LATERAL (SELECT invoicing.may_have_left(d.id) AS frozen) AS f
    WHERE d.id = ANY(%(ids)s) AND d.cycle_id IS NOT NULL
)
SELECT id, cycle_id, invoicing.delivery_fingerprint(id, to_addresses, cc_addresses, language, settings_version_id,
                                                    template_version_id) AS fingerprint
FROM content
WHERE invoicing.lacks_approval(id, to_addresses, cc_addresses, language, settings_version_id, template_version_id)
ORDER BY cycle_id, id;

-- name: add_request
INSERT INTO invoicing.approval_request (scope, cycle_id, run_id, fingerprint, summary, actor)
VALUES (%(scope)s, %(cycle_id)s, %(run_id)s, %(fingerprint)s, %(summary)s, %(actor)s)
RETURNING id;

-- name: copy_items
COPY invoicing.approval_item (request_id, delivery_id, fingerprint) FROM STDIN;

-- name: add_answer
-- The first one counts, wherever it came from.
INSERT INTO invoicing.approval_answer (request_id, answer, via, actor, reason)
VALUES (%(request_id)s, %(answer)s, %(via)s, %(actor)s, %(reason)s)
ON CONFLICT ON CONSTRAINT approval_answer_one_a_request DO NOTHING
RETURNING id;

-- name: set_rejected_aside
UPDATE invoicing.delivery SET state = 'held', actor = %(actor)s, reason = %(reason)s
WHERE id IN (SELECT delivery_id FROM invoicing.approval_item WHERE request_id = %(request_id)s)
  AND state = 'pending' AND NOT on_request;

-- name: waiting_runs
-- Those that may be waiting for an answer, the newest first.
SELECT dag_id, dag_run_id FROM invoicing.cycle_run
WHERE cycle_id = %(cycle_id)s AND state = 'running' ORDER BY id DESC LIMIT 50;

-- name: previous_cycle
SELECT id, period FROM invoicing.billing_cycle WHERE period = %(period)s;

-- name: messages
SELECT count(*) AS messages, coalesce(sum(cardinality(to_addresses) + cardinality(cc_addresses)), 0)::bigint AS addresses
FROM invoicing.delivery WHERE id = ANY(%(ids)s);

-- name: sums
SELECT i.currency, count(*) AS invoices, sum(i.total) AS total
FROM invoicing.delivery_invoice AS di JOIN invoicing.invoice AS i ON i.id = di.invoice_id
WHERE di.delivery_id = ANY(%(ids)s) AND i.state <> 'void'
GROUP BY i.currency ORDER BY count(*) DESC, i.currency;

-- name: changed_since
-- What is no longer as it was asked: how many are new, gone, or of another content.
SELECT count(*) FILTER (WHERE i.delivery_id IS NULL) AS added, count(*) FILTER (WHERE n.id IS NULL) AS gone,
       count(*) FILTER (WHERE i.fingerprint <> n.fingerprint) AS changed
FROM (SELECT delivery_id, fingerprint FROM invoicing.approval_item WHERE request_id = %(request_id)s) AS i
FULL JOIN unnest(%(ids)s::bigint[], %(fingerprints)s::text[]) AS n (id, fingerprint) ON n.id = i.delivery_id;

-- name: unsent
-- What of a month was not accepted and is not withdrawn by a run: where each stands, what it would go out with today, and
-- what keeps it.
SELECT d.id, d.state, d.given_up, d.on_request, d.claimed_by, d.run_id, d.last_reply, d.reason,
       invoicing.may_have_left(d.id) AS may_have_left, d.to_addresses, d.cc_addresses,
       t.code AS tenant, t.name, t.emails, t.cc_emails,
       CASE WHEN NOT s.auto_send THEN 'sending_disabled' WHEN NOT t.auto_send THEN 'tenant_disabled'
            WHEN invoicing.is_held(t.id, d.period) THEN 'tenant_held' END AS brake,
       r.dag_id, r.dag_run_id, r.state AS run_state,
       carried.numbers, carried.stands, carried.lacks_document
FROM invoicing.delivery AS d
JOIN invoicing.tenant AS t ON t.id = d.tenant_id
CROSS JOIN invoicing.settings_in_force AS s
LEFT JOIN invoicing.cycle_run AS r ON r.id = d.run_id
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(i.number ORDER BY i.series, i.serial), '{}') AS numbers,
           coalesce(bool_or(i.state NOT IN ('void', 'credited')), false) AS stands,
           coalesce(bool_or(NOT EXISTS (SELECT FROM invoicing.invoice_document AS doc WHERE doc.invoice_id = i.id)),
                    false) AS lacks_document
    FROM invoicing.delivery_invoice AS di JOIN invoicing.invoice AS i ON i.id = di.invoice_id
    WHERE di.delivery_id = d.id AND i.state <> 'void'
) AS carried
WHERE d.cycle_id = %(cycle_id)s AND d.state <> 'sent' AND (d.state <> 'cancelled' OR d.given_up)
ORDER BY t.code, d.id;

-- name: lock
SELECT id FROM invoicing.delivery WHERE id = ANY(%(ids)s) ORDER BY id FOR UPDATE;

-- name: bring_up_to_date
-- What nobody has tried yet would leave as its run had it: a first execution renews nothing.
UPDATE invoicing.delivery AS d
SET to_addresses = t.emails, cc_addresses = t.cc_emails, language = t.language,
    settings_version_id = %(settings_version_id)s, template_version_id = %(template_version_id)s
FROM invoicing.tenant AS t
WHERE t.id = d.tenant_id AND d.id = ANY(%(ids)s) AND d.state = 'pending' AND NOT d.keeps_words
  AND NOT invoicing.may_have_left(d.id)
  AND (d.settings_version_id, d.template_version_id, d.to_addresses, d.cc_addresses, d.language)
      IS DISTINCT FROM
      (%(settings_version_id)s, %(template_version_id)s, t.emails, t.cc_emails, t.language);

-- name: request
-- No task of the month's runs will take these up: the next run of `send_new_invoices` does.
UPDATE invoicing.delivery AS d
SET state = 'pending', on_request = true, run_id = NULL, actor = %(actor)s, reason = %(reason)s,
    to_addresses = CASE WHEN invoicing.may_have_left(d.id) THEN d.to_addresses ELSE t.emails END,
    cc_addresses = CASE WHEN invoicing.may_have_left(d.id) THEN d.cc_addresses ELSE t.cc_emails END
FROM invoicing.tenant AS t
WHERE t.id = d.tenant_id AND d.id = ANY(%(ids)s) AND d.state IN ('pending', 'failed') AND NOT d.given_up
RETURNING d.id;

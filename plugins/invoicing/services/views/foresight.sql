-- name: invoices
-- As they are after their credit notes.
SELECT i.number, l.code AS lease, t.code AS tenant, i.property, i.subtotal - coalesce(c.subtotal, 0) AS subtotal,
       i.tax - coalesce(c.tax, 0) AS tax, i.withholding - coalesce(c.withholding, 0) AS withholding,
       i.total - coalesce(c.total, 0) AS total, i.currency, i.issued_on, i.due_on
FROM invoicing.invoice AS i
LEFT JOIN (
    SELECT corrects, sum(subtotal) AS subtotal, sum(tax) AS tax, sum(withholding) AS withholding, sum(total) AS total
    FROM invoicing.invoice WHERE cycle_id = %(cycle_id)s AND kind = 'credit_note' GROUP BY corrects
) AS c ON c.corrects = i.id
JOIN invoicing.tenant AS t ON t.id = i.tenant_id
JOIN invoicing.lease AS l ON l.id = i.lease_id
WHERE i.cycle_id = %(cycle_id)s AND i.origin = 'monthly' AND i.stands
ORDER BY i.series, i.serial;

-- name: tenants
-- What is decided on each, the rule that objected first, and whom a message that is still to be sent goes to.
WITH mail AS (
    SELECT tenant_id, count(*) FILTER (WHERE state IN ('pending', 'claimed', 'transmitting')) AS to_send,
           count(*) FILTER (WHERE state = 'sent') AS sent,
           max(id) FILTER (WHERE state IN ('pending', 'claimed', 'transmitting')) AS newest
    FROM invoicing.delivery WHERE cycle_id = %(cycle_id)s AND purpose = 'initial'
    GROUP BY tenant_id
)
SELECT t.code, t.name, t.words, d.reason,
       CASE WHEN d.reason IS NOT NULL THEN jsonb_path_query_first(d.trace, '$[*] ? (@.objects == true)') END AS objection,
       CASE WHEN d.trace @? '$[*] ? (@.rule == "no_email" && @.objects == true)' THEN 'no_email'
            WHEN d.trace @? '$[*] ? (@.rule == "invalid_email" && @.objects == true)' THEN 'invalid_email'
       END AS address_problem,
       coalesce(mail.to_send, 0) AS to_send, coalesce(mail.sent, 0) AS sent,
       coalesce(next.to_addresses, '{}') AS to_addresses, coalesce(next.cc_addresses, '{}') AS cc_addresses
FROM invoicing.decision AS d
JOIN invoicing.tenant AS t ON t.id = d.tenant_id
LEFT JOIN mail ON mail.tenant_id = d.tenant_id
LEFT JOIN invoicing.delivery AS next ON next.id = mail.newest
WHERE d.cycle_id = %(cycle_id)s AND d.superseded_at IS NULL;

-- name: tenants_named
SELECT code, name, words FROM invoicing.tenant WHERE code = ANY(%(codes)s);

-- name: unissued
SELECT l.code AS lease, t.code AS tenant, u.total, u.currency
FROM invoicing.unissued_invoice AS u
JOIN invoicing.lease AS l ON l.id = u.lease_id
JOIN invoicing.tenant AS t ON t.id = l.tenant_id
WHERE u.cycle_id = %(cycle_id)s ORDER BY l.code;

-- name: fingerprint
-- Of all that a simulation reads. Whoever changes a row, in whichever way, gives it a new xmin; a row that is gone is
-- missed by the count. Runs change their own row with whatever they do, people leave an audit event.
WITH looked_at AS (
    SELECT id FROM invoicing.billing_cycle WHERE period <= %(period)s ORDER BY period DESC LIMIT 2
)
SELECT concat_ws('/',
    (SELECT max(id) FROM invoicing.settings_version),
    (SELECT max(id) FROM invoicing.audit_event),
    (SELECT count(*) || ':' || sum(xmin::text::bigint) FROM invoicing.tenant),
    (SELECT count(*) || ':' || sum(xmin::text::bigint) FROM invoicing.lease),
    (SELECT count(*) || ':' || sum(xmin::text::bigint) FROM invoicing.charge),
    (SELECT count(*) || ':' || sum(xmin::text::bigint) FROM invoicing.tax_rate),
    (SELECT count(*) || ':' || sum(xmin::text::bigint) FROM invoicing.invoice_series),
    (SELECT count(*) || ':' || sum(xmin::text::bigint) FROM invoicing.billing_cycle),
    (SELECT count(*) || ':' || sum(xmin::text::bigint) FROM invoicing.cycle_run),
    (SELECT count(*) || ':' || sum(total) || ':' || count(*) FILTER (WHERE stands) FROM invoicing.invoice
     WHERE cycle_id IN (SELECT id FROM looked_at)),
    (SELECT count(*) || ':' || sum(xmin::text::bigint) FROM invoicing.delivery
     WHERE period = %(period)s AND cycle_id IS NOT NULL)) AS seen;

-- name: tenants_found
-- One page of the tenants that fit. The patterns are in lower case and without accents, like what they are looked for in;
-- the first two are by themselves, for an index of trigrams. What the parameters settle is settled when this is planned: each sort is the
-- walk of an index, from a key on or from the start. Backwards for what descends, or lies before a key.
SELECT t.id, t.code, t.document_type, t.document_number, t.name, t.emails, t.cc_emails, t.language, t.city,
       t.auto_send, t.only_multiple, t.updated_at,
       (SELECT count(*) FROM invoicing.lease AS l
        WHERE l.tenant_id = t.id AND l.start_date <= %(today)s AND (l.end_date IS NULL OR l.end_date >= %(today)s)
       ) AS leases
FROM (
    SELECT id, row_number() OVER () AS position FROM (
        SELECT id FROM invoicing.tenant
        WHERE (%(auto_send)s::boolean IS NULL OR auto_send = %(auto_send)s)
          AND (%(only_multiple)s::boolean IS NULL OR only_multiple = %(only_multiple)s)
          AND (NOT %(without_address)s OR emails = '{}')
          AND (%(ids)s::bigint[] IS NULL OR id = ANY(%(ids)s))
          AND (%(patterns)s::text[] = '{}' OR invoicing.has_words(words, %(patterns)s))
          AND (%(key_code)s::text IS NULL
               OR CASE WHEN %(sort)s = 'name' AND NOT %(backwards)s THEN (plain_name, code) > (%(key_name)s::text, %(key_code)s)
                       WHEN %(sort)s = 'name' THEN (plain_name, code) < (%(key_name)s::text, %(key_code)s)
                       WHEN %(sort)s = 'updated' AND NOT %(backwards)s
                           THEN (updated_at, code) > (%(key_updated_at)s::timestamptz, %(key_code)s)
                       WHEN %(sort)s = 'updated' THEN (updated_at, code) < (%(key_updated_at)s::timestamptz, %(key_code)s)
                       WHEN NOT %(backwards)s THEN code > %(key_code)s
                       ELSE code < %(key_code)s END)
        ORDER BY CASE WHEN %(sort)s = 'name' AND NOT %(backwards)s THEN plain_name END,
                 CASE WHEN %(sort)s = 'name' AND %(backwards)s THEN plain_name END DESC,
                 CASE WHEN %(sort)s = 'updated' AND NOT %(backwards)s THEN updated_at END,
                 CASE WHEN %(sort)s = 'updated' AND %(backwards)s THEN updated_at END DESC,
                 CASE WHEN NOT %(backwards)s THEN code END,
                 CASE WHEN %(backwards)s THEN code END DESC
        LIMIT %(limit)s OFFSET %(offset)s
    ) AS page
) AS shown JOIN invoicing.tenant AS t ON t.id = shown.id
ORDER BY shown.position;

-- name: key_of_tenant
SELECT code AS key_code, plain_name AS key_name, updated_at AS key_updated_at FROM invoicing.tenant WHERE code = %(code)s;

-- name: count_found
SELECT count(*) AS total FROM invoicing.tenant
WHERE (%(auto_send)s::boolean IS NULL OR auto_send = %(auto_send)s)
  AND (%(only_multiple)s::boolean IS NULL OR only_multiple = %(only_multiple)s)
  AND (NOT %(without_address)s OR emails = '{}')
  AND (%(ids)s::bigint[] IS NULL OR id = ANY(%(ids)s))
  AND (%(patterns)s::text[] = '{}' OR invoicing.has_words(words, %(patterns)s));

-- name: tenant_counts
-- From the indexes alone.
SELECT count(*) AS tenants,
       count(*) FILTER (WHERE auto_send) AS auto_send,
       count(*) FILTER (WHERE only_multiple) AS only_multiple,
       (SELECT count(*) FROM invoicing.tenant WHERE emails = '{}') AS no_email
FROM invoicing.tenant;

-- name: tenant
SELECT id, code, document_type, document_number, name, emails, cc_emails, language, city, withholding_agent,
       auto_send, only_multiple, updated_at
FROM invoicing.tenant WHERE code = %(code)s;

-- name: leases_of_tenant
SELECT code, property, city, use, start_date, end_date, rent, currency,
       start_date <= %(today)s AND (end_date IS NULL OR end_date >= %(today)s) AS active
FROM invoicing.lease WHERE tenant_id = %(tenant_id)s
ORDER BY active DESC, code LIMIT %(limit)s;

-- name: invoices_of_tenant
SELECT i.id, i.number, i.origin, i.period, l.code AS lease, i.property, i.issued_on, i.due_on, i.total, i.currency, i.state,
       d.invoice_id IS NOT NULL AS has_document
FROM invoicing.invoice AS i
LEFT JOIN invoicing.lease AS l ON l.id = i.lease_id
LEFT JOIN invoicing.invoice_document AS d ON d.invoice_id = i.id
WHERE i.tenant_id = %(tenant_id)s
ORDER BY i.id DESC LIMIT %(limit)s;

-- name: decisions_of_tenant
SELECT c.period, d.reason, d.invoice_count, d.decided_at, d.trace
FROM invoicing.decision AS d JOIN invoicing.billing_cycle AS c ON c.id = d.cycle_id
WHERE d.tenant_id = %(tenant_id)s AND d.superseded_at IS NULL
ORDER BY c.period DESC LIMIT %(limit)s;

-- name: deliveries_of_tenant
SELECT d.id, d.period, d.cycle_id, d.state, d.purpose, d.generation, d.resend_of, d.message_id, d.to_addresses,
       d.cc_addresses, d.language, d.attempts, d.last_reply, d.actor, d.reason, d.created_at, d.updated_at,
       d.settings_version_id, d.claimed_by,
       array(SELECT i.number FROM invoicing.delivery_invoice AS di
             JOIN invoicing.invoice AS i ON i.id = di.invoice_id
             WHERE di.delivery_id = d.id AND (i.state <> 'void' OR d.state = 'cancelled')
             ORDER BY i.series, i.serial) AS invoices
FROM invoicing.delivery AS d
WHERE d.tenant_id = %(tenant_id)s
ORDER BY d.id DESC LIMIT %(limit)s;

-- name: changes_of_tenant
SELECT at, actor, action, details FROM invoicing.audit_event
WHERE subject = 'tenant ' || %(code)s AND action IN ('tenant_created', 'tenant_changed', 'tenant_overwritten')
ORDER BY id DESC LIMIT %(limit)s;

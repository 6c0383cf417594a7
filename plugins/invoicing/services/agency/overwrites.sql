-- name: last_words
-- Of each field of each subject, its newest event.
SELECT DISTINCT ON (e.subject, d.key)
       substr(e.subject, strpos(e.subject, ' ') + 1) AS code, d.key AS field, d.value -> 'after' AS after, e.actor, e.at,
       e.action
FROM invoicing.audit_event AS e CROSS JOIN LATERAL jsonb_each(e.details) AS d
WHERE e.subject = ANY(%(subjects)s)
  AND e.action IN ('tenant_created', 'tenant_changed', 'tenant_overwritten', 'lease_created', 'lease_changed',
                   'lease_overwritten')
  AND jsonb_typeof(d.value) = 'object'
ORDER BY e.subject, d.key, e.id DESC;

-- name: last_words_on_charges
-- Of each lease whose charges a person changed, whether a file has rows for it or not.
SELECT DISTINCT ON (l.code)
       l.code, 'charges' AS field, e.details #> '{charges,after}' AS after, e.actor, e.at, e.action
FROM invoicing.lease AS l JOIN invoicing.audit_event AS e ON e.subject = 'lease ' || l.code
WHERE e.action IN ('lease_created', 'lease_changed', 'lease_overwritten') AND e.details ? 'charges'
ORDER BY l.code, e.id DESC;

-- name: charges_of_leases
SELECT l.code, c.concept, c.description, c.amount, c.tax, c.prorated, c.from_period, c.to_period
FROM invoicing.charge AS c JOIN invoicing.lease AS l ON l.id = c.lease_id
WHERE l.code = ANY(%(codes)s) ORDER BY c.id;

-- name: tenants
SELECT code, document_type, document_number, name, emails, cc_emails, language, city, withholding_agent, auto_send,
       only_multiple
FROM invoicing.tenant WHERE code = ANY(%(codes)s);

-- name: leases
SELECT l.code, t.code AS tenant_code, l.property, l.city, l.use, l.start_date, l.end_date, l.rent, l.currency
FROM invoicing.lease AS l JOIN invoicing.tenant AS t ON t.id = l.tenant_id WHERE l.code = ANY(%(codes)s);

-- name: add_events
INSERT INTO invoicing.audit_event (actor, action, subject, details)
VALUES (%(actor)s, %(action)s, %(subject)s, %(details)s);

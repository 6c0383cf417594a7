-- name: tenant_codes
SELECT code FROM invoicing.tenant;

-- name: lock_tenant
SELECT id, code, document_type, document_number, name, emails, cc_emails, language, city, withholding_agent, auto_send,
       only_multiple, updated_at
FROM invoicing.tenant WHERE code = %(code)s FOR UPDATE;

-- name: change_tenant
UPDATE invoicing.tenant
SET document_type = %(document_type)s, document_number = %(document_number)s, name = %(name)s, city = %(city)s,
    withholding_agent = %(withholding_agent)s, emails = %(emails)s, cc_emails = %(cc_emails)s, language = %(language)s, auto_send = %(auto_send)s,
    only_multiple = %(only_multiple)s, updated_at = clock_timestamp()
WHERE id = %(id)s;

-- name: add_tenant
INSERT INTO invoicing.tenant
    (code, document_type, document_number, name, emails, cc_emails, language, city, withholding_agent, auto_send,
     only_multiple)
VALUES (%(code)s, %(document_type)s, %(document_number)s, %(name)s, %(emails)s, %(cc_emails)s, %(language)s, %(city)s,
        %(withholding_agent)s, %(auto_send)s, %(only_multiple)s)
ON CONFLICT (code) DO NOTHING;

-- name: lock_tenants
-- Against other people's changes; whoever only reads is not kept waiting.
SELECT invoicing.hold_tenants();

-- name: tenants_to_switch
-- Those that fit and whose switch is not there yet; of `codes` only, where they are given.
SELECT id, code, name FROM invoicing.tenant
WHERE (%(auto_send)s::boolean IS NULL OR auto_send = %(auto_send)s)
  AND (%(only_multiple)s::boolean IS NULL OR only_multiple = %(only_multiple)s)
  AND (NOT %(without_address)s OR emails = '{}')
  AND (%(ids)s::bigint[] IS NULL OR id = ANY(%(ids)s))
  AND (%(patterns)s::text[] = '{}' OR invoicing.has_words(words, %(patterns)s))
  AND (%(codes)s::text[] IS NULL OR code = ANY(%(codes)s))
  AND CASE %(switch)s WHEN 'auto_send' THEN auto_send ELSE only_multiple END <> %(value)s
ORDER BY code;

-- name: switch_tenants
WITH switched AS (
    UPDATE invoicing.tenant
    SET auto_send = CASE %(switch)s WHEN 'auto_send' THEN %(value)s ELSE auto_send END,
        only_multiple = CASE %(switch)s WHEN 'only_multiple' THEN %(value)s ELSE only_multiple END,
        updated_at = clock_timestamp()
    WHERE id = ANY(%(ids)s)
    RETURNING code
)
INSERT INTO invoicing.audit_event (actor, action, subject, details)
SELECT %(actor)s, 'tenant_changed', 'tenant ' || code, %(details)s FROM switched ORDER BY code;

-- name: lock_settings
SELECT pg_advisory_xact_lock(hashtext('invoicing.settings'));

-- name: current_settings
SELECT id, settings, actor, created_at FROM invoicing.settings_version ORDER BY id DESC LIMIT 1;

-- name: settings_version
SELECT id, settings, actor, created_at FROM invoicing.settings_version WHERE id = %(id)s;

-- name: settings_versions
SELECT id, settings, actor, created_at FROM invoicing.settings_version ORDER BY id DESC LIMIT %(limit)s;

-- name: add_settings
INSERT INTO invoicing.settings_version (settings, actor) VALUES (%(settings)s, %(actor)s)
RETURNING id, settings, actor, created_at;

-- name: lock_templates
SELECT pg_advisory_xact_lock(hashtext('invoicing.template'));

-- name: current_template
SELECT id, name, version, parts, actor, created_at FROM invoicing.template_version
WHERE name = %(name)s ORDER BY version DESC LIMIT 1;

-- name: template_version
SELECT id, name, version, parts, actor, created_at FROM invoicing.template_version WHERE id = %(id)s;

-- name: template_names
SELECT DISTINCT name FROM invoicing.template_version ORDER BY name;

-- name: add_template
INSERT INTO invoicing.template_version (name, version, parts, actor)
VALUES (%(name)s,
        1 + coalesce((SELECT max(version) FROM invoicing.template_version WHERE name = %(name)s), 0),
        %(parts)s, %(actor)s)
RETURNING id, name, version, parts, actor, created_at;

-- name: add_audit_event
INSERT INTO invoicing.audit_event (actor, action, subject, details)
VALUES (%(actor)s, %(action)s, %(subject)s, %(details)s);

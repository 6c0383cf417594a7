-- name: lock_settings
SELECT pg_advisory_xact_lock(hashtext('invoicing.settings'));

-- name: current_settings
SELECT id, settings, actor, created_at FROM invoicing.settings_version ORDER BY id DESC LIMIT 1;

-- name: newest_versions
-- Of the settings, and of the template that they name: as cheap as it is asked often.
SELECT s.id AS settings, (
    SELECT max(t.id) FROM invoicing.template_version AS t WHERE t.name = s.settings ->> 'template') AS template
FROM invoicing.settings_version AS s ORDER BY s.id DESC LIMIT 1;

-- name: settings_version
SELECT id, settings, actor, created_at FROM invoicing.settings_version WHERE id = %(id)s;

-- name: add_settings
INSERT INTO invoicing.settings_version (settings, actor) VALUES (%(settings)s, %(actor)s)
RETURNING id, settings, actor, created_at;

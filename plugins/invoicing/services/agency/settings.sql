-- name: lock_settings
SELECT pg_advisory_xact_lock(hashtext('invoicing.settings'));

-- name: current_settings
SELECT id, settings, actor, created_at FROM invoicing.settings_version ORDER BY id DESC LIMIT 1;

-- name: settings_version
SELECT id, settings, actor, created_at FROM invoicing.settings_version WHERE id = %(id)s;

-- name: add_settings
INSERT INTO invoicing.settings_version (settings, actor) VALUES (%(settings)s, %(actor)s)
RETURNING id, settings, actor, created_at;

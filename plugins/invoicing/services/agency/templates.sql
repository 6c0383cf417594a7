-- name: lock_templates
SELECT pg_advisory_xact_lock(hashtext('invoicing.template'));

-- name: current_template
SELECT id, name, version, parts, fields, actor, created_at FROM invoicing.template_version
WHERE name = %(name)s ORDER BY version DESC LIMIT 1;

-- name: version_by_id
SELECT id, name, version, parts, fields, actor, created_at FROM invoicing.template_version WHERE id = %(id)s;

-- name: version_by_number
SELECT id, name, version, parts, fields, actor, created_at FROM invoicing.template_version
WHERE name = %(name)s AND version = %(version)s;

-- name: template_names
SELECT DISTINCT name FROM invoicing.template_version ORDER BY name;

-- name: add_version
INSERT INTO invoicing.template_version (name, version, parts, fields, actor)
VALUES (%(name)s,
        1 + coalesce((SELECT max(version) FROM invoicing.template_version WHERE name = %(name)s), 0),
        %(parts)s, %(fields)s, %(actor)s)
RETURNING id, name, version, parts, fields, actor, created_at;

-- name: newest_versions
-- The newest version of each template, and how many there are of it.
SELECT DISTINCT ON (name) name, version, actor, created_at,
       count(*) OVER (PARTITION BY name) AS versions
FROM invoicing.template_version
ORDER BY name, version DESC;

-- name: versions_of
-- Newest first, with the cycles whose runs used each.
SELECT v.version, v.actor, v.created_at,
       array(SELECT DISTINCT c.period::text FROM invoicing.cycle_run AS r
             JOIN invoicing.billing_cycle AS c ON c.id = r.cycle_id
             WHERE r.template_version_id = v.id ORDER BY 1 DESC LIMIT 6) AS periods
FROM invoicing.template_version AS v
WHERE v.name = %(name)s
ORDER BY v.version DESC LIMIT %(limit)s;

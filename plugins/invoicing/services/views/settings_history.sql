-- name: settings_changes
-- Versions, newest first, each with the one before it. A logo is long: its beginning and its checksum tell it apart.
SELECT v.id, v.actor, v.created_at, v.settings, v.before,
       (SELECT array_agg(DISTINCT c.period::text ORDER BY c.period::text)
        FROM invoicing.cycle_run AS r JOIN invoicing.billing_cycle AS c ON c.id = r.cycle_id
        WHERE r.settings_version_id = v.id) AS periods
FROM (
    SELECT id, actor, created_at, s.short AS settings, lag(s.short) OVER (ORDER BY id) AS before
    FROM (
        SELECT * FROM invoicing.settings_version WHERE id <= %(newest)s ORDER BY id DESC LIMIT %(limit)s + 1
    ) AS recent,
    LATERAL (SELECT CASE WHEN length(settings ->> 'agency_logo') > 100
        THEN settings || jsonb_build_object('agency_logo',
            left(settings ->> 'agency_logo', 22) || '… ' || left(md5(settings ->> 'agency_logo'), 8))
        ELSE settings END AS short) AS s
) AS v
ORDER BY v.id DESC LIMIT %(limit)s;

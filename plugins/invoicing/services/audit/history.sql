-- name: note_horizon
SELECT invoicing.note_history_horizon();

-- name: seal
SELECT invoicing.seal_history(%(most)s) AS sealed;

-- name: head
SELECT coalesce(max(l.entry_id), 0) AS entry,
       coalesce((SELECT encode(sha256, 'hex') FROM invoicing.history_link ORDER BY entry_id DESC LIMIT 1), repeat('0', 64)) AS sha256,
       (SELECT count(*) FROM invoicing.history_entry
        WHERE id > (SELECT coalesce(max(entry_id), 0) FROM invoicing.history_link)) AS unsealed
FROM invoicing.history_link AS l;

-- name: link_of
SELECT encode(sha256, 'hex') AS link FROM invoicing.history_link WHERE entry_id = %(entry)s;

-- name: broken_links
-- An entry that is not what was chained, is gone, or came in between. Past one that is gone the chain goes on from its link.
WITH chained AS (
    SELECT l.entry_id, l.sha256 AS link, lag(l.sha256) OVER (ORDER BY l.entry_id) AS before FROM invoicing.history_link AS l
)
SELECT coalesce(c.entry_id, e.id) AS key,
       CASE WHEN e.id IS NULL THEN 'entry missing' WHEN c.entry_id IS NULL THEN 'entry between'
            ELSE 'entry altered' END AS what
FROM chained AS c FULL JOIN invoicing.history_entry AS e ON e.id = c.entry_id
WHERE e.id IS NULL
   OR c.entry_id IS NULL AND e.id <= (SELECT max(entry_id) FROM invoicing.history_link)
   OR c.link <> sha256(convert_to(concat_ws(' ', coalesce(encode(c.before, 'hex'), repeat('0', 64)), e.id, e.source, e.key,
                                            encode(e.sha256, 'hex'), e.writer), 'UTF8'))
ORDER BY 1 LIMIT %(most)s;

-- name: broken_seals
-- A head that was noted, and is not the chain's at that entry; or the entries in between are not as many.
SELECT s.id AS key, 'seal differs' AS what
FROM (SELECT *, lag(entry_id, 1, 0::bigint) OVER (ORDER BY id) AS after_entry FROM invoicing.history_seal) AS s
LEFT JOIN invoicing.history_link AS l ON l.entry_id = s.entry_id
WHERE l.entry_id IS NULL OR s.head <> encode(l.sha256, 'hex')
   OR s.entries <> (SELECT count(*) FROM invoicing.history_link AS n WHERE n.entry_id > s.after_entry AND n.entry_id <= s.entry_id)
ORDER BY s.id LIMIT %(most)s;

-- name: differing_rows
-- Rows that are not what their last entry says, are gone, or have none. Columns that came after an entry are not in its hash.
WITH shapes AS (
    SELECT first_entry, lead(first_entry) OVER (ORDER BY id) AS until_entry, array(
        SELECT a.attname::text FROM pg_attribute AS a
        WHERE a.attrelid = 'invoicing.{table}'::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> ALL (s.columns)
    ) AS later
    FROM invoicing.history_shape AS s WHERE source = {name}
), latest AS (
    SELECT DISTINCT ON (key) key, id, sha256 FROM invoicing.history_entry WHERE source = {name} ORDER BY key, id DESC
), now AS (
    SELECT {key} AS key, line FROM (SELECT to_jsonb(t) AS line FROM invoicing.{table} AS t) AS lines
)
SELECT key, CASE WHEN latest.id IS NULL THEN 'row unrecorded' WHEN now.line IS NULL THEN 'row missing'
                 ELSE 'row altered' END AS what
FROM now FULL JOIN latest USING (key)
LEFT JOIN shapes ON latest.id >= shapes.first_entry AND (shapes.until_entry IS NULL OR latest.id < shapes.until_entry)
WHERE latest.id IS NULL OR now.line IS NULL
   OR latest.sha256 <> sha256(convert_to((now.line - coalesce(shapes.later, '{{}}'))::text, 'UTF8'))
ORDER BY length(key), key LIMIT %(most)s;

-- name: backdated_rows
-- Rows whose first entry came after a seal that was made an hour or more after they say that they were written: put there
-- later, by somebody who may say when. A transaction takes seconds.
SELECT lines.key, s.sealed_at AS after
FROM (SELECT {key} AS key, (line ->> {born})::timestamptz AS born FROM (
          SELECT to_jsonb(t) AS line FROM invoicing.{table} AS t) AS rows) AS lines
JOIN (SELECT key, min(id) AS entry FROM invoicing.history_entry WHERE source = {name} GROUP BY key) AS first USING (key)
CROSS JOIN LATERAL (
    SELECT sealed_at FROM invoicing.history_seal WHERE entry_id < first.entry ORDER BY entry_id DESC LIMIT 1
) AS s
WHERE s.sealed_at > lines.born + interval '1 hour'
ORDER BY length(lines.key), lines.key LIMIT %(most)s;

-- name: foreign_entries
-- What a superuser wrote with the guards' leave, and neither the application nor the owner of the tables did.
SELECT e.source || ' ' || e.key AS place, e.id, e.writer FROM invoicing.history_entry AS e
WHERE e.writer IN (SELECT rolname FROM pg_roles WHERE rolsuper) AND e.writer <> session_user
  AND e.writer <> (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'invoicing.history_entry'::regclass)
ORDER BY e.id LIMIT %(most)s;

-- name: missing_guards
-- Tables that are not hashed any more: a trigger is gone, or off.
SELECT name AS table_name FROM unnest(%(tables)s::text[]) AS name
WHERE 2 <> (
    SELECT count(*) FROM pg_trigger AS t
    WHERE t.tgrelid = to_regclass('invoicing.' || name) AND t.tgenabled IN ('O', 'A')
      AND t.tgname IN (name || '_history_added', name || '_history_changed'))
ORDER BY name;

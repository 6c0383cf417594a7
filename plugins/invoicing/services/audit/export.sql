-- name: one_view
-- Everything is read as of one moment, however long it takes.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;

-- name: month
SELECT (SELECT id FROM invoicing.billing_cycle WHERE period = %(period)s) AS cycle_id,
       (SELECT count(*) FROM invoicing.invoice WHERE period = %(period)s) AS invoices,
       (SELECT max(version) FROM invoicing.schema_migration) AS schema_version, now() AS read_at;

-- name: columns
SELECT c.relname AS table_name, array_agg(a.attname::text ORDER BY a.attnum) AS columns
FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = 'invoicing'::regnamespace AND c.relname = ANY(%(tables)s) GROUP BY c.relname;

-- name: rows
-- Each row's text is the one that its last entry is over; and the ids of its first and last entry.
WITH shapes AS (
    SELECT first_entry, lead(first_entry) OVER (ORDER BY id) AS until_entry, array(
        SELECT a.attname::text FROM pg_attribute AS a
        WHERE a.attrelid = 'invoicing.{table}'::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> ALL (s.columns)
    ) AS later
    FROM invoicing.history_shape AS s WHERE source = {name}
)
SELECT (lines.line - coalesce(shapes.later, '{{}}'))::text AS text, e.first_entry, e.last_entry
FROM (SELECT to_jsonb(t) AS line, {order} FROM invoicing.{table} AS t WHERE {which}) AS lines
CROSS JOIN LATERAL (
    SELECT min(id) AS first_entry, max(id) AS last_entry FROM invoicing.history_entry WHERE source = {name} AND key = {key}
) AS e
LEFT JOIN shapes ON e.last_entry >= shapes.first_entry AND (shapes.until_entry IS NULL OR e.last_entry < shapes.until_entry)
ORDER BY {order};

-- name: of_tenant
t.id IN (SELECT tenant_id FROM invoicing.invoice WHERE period = %(period)s
         UNION SELECT tenant_id FROM invoicing.delivery WHERE period = %(period)s
         UNION SELECT tenant_id FROM invoicing.sending_hold WHERE period = %(period)s
         UNION SELECT tenant_id FROM invoicing.decision WHERE cycle_id = %(cycle_id)s)

-- name: of_lease
t.id IN (SELECT lease_id FROM invoicing.invoice WHERE period = %(period)s)

-- name: of_settings_version
t.id IN (SELECT settings_version_id FROM invoicing.invoice WHERE period = %(period)s
         UNION SELECT settings_version_id FROM invoicing.delivery WHERE period = %(period)s
         UNION SELECT settings_version_id FROM invoicing.cycle_run WHERE cycle_id = %(cycle_id)s
         UNION SELECT r.settings_version_id FROM invoicing.cycle_run AS r JOIN invoicing.decision AS d ON d.run_id = r.id
               JOIN invoicing.invoice AS i ON i.id = d.invoice_id WHERE i.period = %(period)s)

-- name: of_template_version
t.id IN (SELECT template_version_id FROM invoicing.delivery WHERE period = %(period)s
         UNION SELECT template_version_id FROM invoicing.cycle_run WHERE cycle_id = %(cycle_id)s
         UNION SELECT f.template_version_id FROM invoicing.invoice_document AS f
               JOIN invoicing.invoice AS i ON i.id = f.invoice_id WHERE i.period = %(period)s)

-- name: of_series_range
t.prefix IN (SELECT series FROM invoicing.invoice WHERE period = %(period)s)

-- name: of_period
t.period = %(period)s

-- name: of_run
t.cycle_id = %(cycle_id)s
OR t.id IN (SELECT run_id FROM invoicing.invoice WHERE period = %(period)s
            UNION SELECT run_id FROM invoicing.delivery WHERE period = %(period)s
            UNION SELECT d.run_id FROM invoicing.decision AS d JOIN invoicing.invoice AS i ON i.id = d.invoice_id
                  WHERE i.period = %(period)s)

-- name: of_invoice
t.invoice_id IN (SELECT id FROM invoicing.invoice WHERE period = %(period)s)

-- name: of_decision
t.cycle_id = %(cycle_id)s OR t.invoice_id IN (SELECT id FROM invoicing.invoice WHERE period = %(period)s)

-- name: of_delivery
t.delivery_id IN (SELECT id FROM invoicing.delivery WHERE period = %(period)s)

-- name: of_cycle
t.cycle_id = %(cycle_id)s

-- name: of_request
t.request_id IN (SELECT id FROM invoicing.approval_request WHERE cycle_id = %(cycle_id)s)

-- name: of_audit_event
-- From the month's first day of work to its last.
t.at >= (SELECT min(at) FROM (SELECT opened_at AS at FROM invoicing.billing_cycle WHERE period = %(period)s
                              UNION ALL SELECT created_at FROM invoicing.invoice WHERE period = %(period)s) AS first)
AND t.at <= (SELECT max(at) + interval '1 minute' FROM (
    SELECT closed_at AS at FROM invoicing.billing_cycle WHERE period = %(period)s
    UNION ALL SELECT created_at FROM invoicing.invoice WHERE period = %(period)s
    UNION ALL SELECT max(e.at) FROM invoicing.delivery_event AS e JOIN invoicing.delivery AS d ON d.id = e.delivery_id
              WHERE d.period = %(period)s
    UNION ALL SELECT max(c.at) FROM invoicing.invoice_correction AS c JOIN invoicing.invoice AS i ON i.id = c.invoice_id
              WHERE i.period = %(period)s) AS last)

-- name: documents
SELECT f.invoice_id FROM invoicing.invoice_document AS f JOIN invoicing.invoice AS i ON i.id = f.invoice_id
WHERE i.period = %(period)s ORDER BY f.invoice_id;

-- name: transmitted
-- Deliveries that an attempt was marked of, each with the hashes of what was transmitted, the last one first.
SELECT a.delivery_id, array_agg(a.payload_sha256 ORDER BY a.claim_token DESC) AS payloads
FROM invoicing.delivery_attempt AS a JOIN invoicing.delivery AS d ON d.id = a.delivery_id
WHERE d.period = %(period)s AND a.marked_at IS NOT NULL AND a.payload_sha256 IS NOT NULL
GROUP BY a.delivery_id ORDER BY a.delivery_id;

-- name: single_entries
SELECT e.id, e.source, e.key, encode(e.sha256, 'hex') AS sha256, e.writer, encode(l.sha256, 'hex') AS link, (
    SELECT encode(b.sha256, 'hex') FROM invoicing.history_link AS b WHERE b.entry_id < e.id ORDER BY b.entry_id DESC LIMIT 1
) AS before
FROM invoicing.history_entry AS e LEFT JOIN invoicing.history_link AS l ON l.entry_id = e.id
WHERE e.id = ANY(%(ids)s) ORDER BY e.id;

-- name: entries_from
SELECT e.id, e.source, e.key, encode(e.sha256, 'hex') AS sha256, e.writer, encode(l.sha256, 'hex') AS link
FROM invoicing.history_entry AS e LEFT JOIN invoicing.history_link AS l ON l.entry_id = e.id
WHERE e.id >= %(first)s ORDER BY e.id;

-- name: link_before
SELECT encode(sha256, 'hex') AS link FROM invoicing.history_link WHERE entry_id < %(first)s ORDER BY entry_id DESC LIMIT 1;

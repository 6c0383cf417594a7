-- name: payloads
SELECT claim_token, payload_sha256 FROM invoicing.delivery_attempt WHERE delivery_id = %(id)s ORDER BY claim_token;

-- name: run
-- The run that the delivery was made, or last taken up, in.
SELECT r.id, r.dag_id, r.dag_run_id, r.state, r.code_version, r.settings_version_id, v.name AS template_name,
       v.version AS template_version, r.started_at, r.ended_at
FROM invoicing.delivery AS d JOIN invoicing.cycle_run AS r ON r.id = d.run_id
JOIN invoicing.template_version AS v ON v.id = r.template_version_id WHERE d.id = %(id)s;

-- name: decisions
-- On its tenant in its month, or on the single invoices that it carries; newest first.
SELECT o.id, o.reason, o.trace, o.invoice_count, o.decided_at, o.superseded_at, r.dag_id, r.dag_run_id, r.code_version,
       r.settings_version_id
FROM invoicing.delivery AS d
JOIN invoicing.decision AS o ON o.tenant_id = d.tenant_id AND (
    o.cycle_id = d.cycle_id OR o.invoice_id IN (SELECT invoice_id FROM invoicing.delivery_invoice WHERE delivery_id = d.id))
JOIN invoicing.cycle_run AS r ON r.id = o.run_id
WHERE d.id = %(id)s ORDER BY o.id DESC;

-- name: settings
SELECT v.id, v.actor, v.created_at, v.settings - 'agency_logo' AS settings
FROM invoicing.delivery AS d JOIN invoicing.settings_version AS v ON v.id = d.settings_version_id WHERE d.id = %(id)s;

-- name: template
SELECT v.id, v.name, v.version, v.actor, v.created_at,
       (SELECT jsonb_object_agg(part.key, encode(sha256(convert_to(part.value #>> '{}', 'UTF8')), 'hex'))
        FROM jsonb_each(v.parts) AS part) AS parts_sha256
FROM invoicing.delivery AS d JOIN invoicing.template_version AS v ON v.id = d.template_version_id WHERE d.id = %(id)s;

-- name: invoices
SELECT i.id, i.number, i.kind, i.origin, i.state, i.period, l.code AS lease, i.issued_on, i.due_on, i.currency, i.subtotal, i.tax,
       i.withholding, i.total, i.tenant_name, i.tenant_document_type, i.tenant_document_number, i.tenant_city, i.property,
       i.property_city, i.use, i.settings_version_id, o.number AS corrects, p.number AS replaces, r.dag_id, r.dag_run_id, r.code_version,
       i.created_at, b.basis, di.live AS carried,
       (SELECT jsonb_agg(to_jsonb(n) - 'invoice_id' ORDER BY n.position) FROM invoicing.invoice_line AS n WHERE n.invoice_id = i.id) AS lines,
       (SELECT coalesce(jsonb_agg(to_jsonb(w) - 'invoice_id' ORDER BY w.tax), '[]')
        FROM invoicing.invoice_withholding AS w WHERE w.invoice_id = i.id) AS withholdings,
       (SELECT coalesce(jsonb_agg(jsonb_build_object('act', c.act, 'made', m.number, 'actor', c.actor, 'at', c.at, 'reason', c.reason)
                                  ORDER BY c.id), '[]')
        FROM invoicing.invoice_correction AS c LEFT JOIN invoicing.invoice AS m ON m.id = c.made_id
        WHERE c.invoice_id = i.id) AS corrections,
       (SELECT to_jsonb(f) || jsonb_build_object('template', v.name || ' ' || v.version) FROM invoicing.invoice_document AS f
        JOIN invoicing.template_version AS v ON v.id = f.template_version_id WHERE f.invoice_id = i.id) AS document
FROM invoicing.delivery_invoice AS di
JOIN invoicing.invoice AS i ON i.id = di.invoice_id
LEFT JOIN invoicing.lease AS l ON l.id = i.lease_id
LEFT JOIN invoicing.invoice AS o ON o.id = i.corrects
LEFT JOIN invoicing.invoice AS p ON p.id = i.replaces
LEFT JOIN invoicing.cycle_run AS r ON r.id = i.run_id
LEFT JOIN invoicing.invoice_basis AS b ON b.invoice_id = i.id
WHERE di.delivery_id = %(id)s ORDER BY i.series, i.serial;

-- name: approvals
SELECT q.id, q.scope, q.actor AS asked_by, q.asked_at, i.fingerprint, a.answer, a.via, a.actor, a.reason, a.at,
       i.fingerprint = invoicing.delivery_fingerprint(d.id, d.to_addresses, d.cc_addresses, d.language, d.settings_version_id,
                                                      d.template_version_id) AS is_what_it_is_now
FROM invoicing.approval_item AS i JOIN invoicing.approval_request AS q ON q.id = i.request_id
JOIN invoicing.delivery AS d ON d.id = i.delivery_id
LEFT JOIN invoicing.approval_answer AS a ON a.request_id = q.id
WHERE i.delivery_id = %(id)s ORDER BY q.id;

-- name: holds
SELECT h.tenant_id IS NULL AS whole_month, h.reason, h.actor, h.held_at, h.released_at, h.released_by, h.release_reason
FROM invoicing.delivery AS d JOIN invoicing.sending_hold AS h
    ON h.period = d.period AND (h.tenant_id = d.tenant_id OR h.tenant_id IS NULL)
WHERE d.id = %(id)s ORDER BY h.id;

-- name: people
-- What people did that it hangs on: to it, its invoices, its tenant, its month, its settings and its template.
SELECT at, actor, action, subject, details FROM invoicing.audit_event
WHERE subject = ANY(%(subjects)s)
   OR starts_with(subject, 'deliveries ') AND (
       details -> 'deliveries' @> to_jsonb(%(id)s::bigint) OR %(id)s::text = ANY(string_to_array(substr(subject, 12), ', ')))
ORDER BY id;

-- name: history
-- The entries of the delivery's own row, its attempts and events, and how many of them are chained.
SELECT count(*) AS entries, count(l.entry_id) AS chained, min(e.id) AS first, max(e.id) AS last
FROM invoicing.history_entry AS e LEFT JOIN invoicing.history_link AS l ON l.entry_id = e.id
WHERE e.source = 'delivery' AND e.key = %(id)s::text
   OR e.source = 'delivery_attempt' AND e.key IN (
       SELECT delivery_id || '/' || claim_token FROM invoicing.delivery_attempt WHERE delivery_id = %(id)s)
   OR e.source = 'delivery_event' AND e.key IN (
       SELECT id::text FROM invoicing.delivery_event WHERE delivery_id = %(id)s);

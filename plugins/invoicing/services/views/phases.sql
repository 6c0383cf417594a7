-- name: run_at_work
-- The newest monthly run of the cycle that is under way.
SELECT r.id, r.dag_id, r.dag_run_id, r.started_at, r.started_via, r.started_by, r.generated_at IS NOT NULL AS has_generated,
       r.decided_at IS NOT NULL AS has_decided, s.settings, q.id AS request_id, a.answer
FROM invoicing.cycle_run AS r
JOIN invoicing.billing_cycle AS c ON c.id = r.cycle_id
JOIN invoicing.settings_version AS s ON s.id = r.settings_version_id
LEFT JOIN LATERAL (
    SELECT id FROM invoicing.approval_request WHERE cycle_id = c.id AND run_id = r.id AND scope = 'month' ORDER BY id DESC LIMIT 1
) AS q ON true
LEFT JOIN invoicing.approval_answer AS a ON a.request_id = q.id
WHERE c.period = %(period)s AND r.state = 'running'
ORDER BY r.started_at DESC, r.id DESC LIMIT 1;

-- name: documents
-- Of the run's deliveries: how many invoices, how many of them have their PDF, and how fast that went in this run.
SELECT count(*) AS total, count(doc.invoice_id) AS done,
       count(*) FILTER (WHERE doc.rendered_at >= %(since)s) AS recent, min(doc.rendered_at) FILTER (WHERE doc.rendered_at >= %(since)s) AS first_at
FROM invoicing.delivery AS d
JOIN invoicing.delivery_invoice AS di ON di.delivery_id = d.id AND di.live
LEFT JOIN invoicing.invoice_document AS doc ON doc.invoice_id = di.invoice_id
WHERE d.run_id = %(run_id)s AND d.purpose = 'initial' AND d.state NOT IN ('held', 'cancelled');

-- name: messages
-- Of the run's deliveries: how many there are to send, how many left, how many came to another end.
SELECT count(*) AS total, count(*) FILTER (WHERE state = 'sent') AS sent,
       count(*) FILTER (WHERE state IN ('failed', 'in_doubt')) AS ended,
       count(*) FILTER (WHERE attempts > 0 OR state IN ('claimed', 'transmitting', 'sent')) AS begun
FROM invoicing.delivery WHERE run_id = %(run_id)s AND purpose = 'initial' AND state NOT IN ('held', 'cancelled');

-- name: pace
-- How many of the run's messages came to an end of late, and since when that is counted.
SELECT count(a.ended_at) AS recent, min(a.started_at) AS first_at
FROM invoicing.delivery AS d JOIN invoicing.delivery_attempt AS a ON a.delivery_id = d.id
WHERE d.run_id = %(run_id)s AND d.purpose = 'initial' AND a.started_at >= %(since)s
  AND (a.verdict IS NULL OR a.verdict IN ('accepted', 'refused_permanently', 'in_doubt'));

-- name: forget
-- What an earlier run asked for: it is found anew. A run of no month has what is decided on one by one.
DELETE FROM invoicing.unmade_document AS u USING invoicing.invoice AS i
WHERE i.id = u.invoice_id
  AND (i.cycle_id = %(cycle_id)s OR %(cycle_id)s::bigint IS NULL AND (i.origin <> 'monthly' OR i.sent_apart));

-- name: ask_for_month
INSERT INTO invoicing.unmade_document (invoice_id, run_id)
SELECT id, %(run_id)s FROM invoicing.unmailed_without_document WHERE cycle_id = %(cycle_id)s
ON CONFLICT (invoice_id) DO NOTHING
RETURNING invoice_id;

-- name: ask_for_others
INSERT INTO invoicing.unmade_document (invoice_id, run_id)
SELECT id, %(run_id)s FROM invoicing.unmailed_without_document WHERE is_apart
ON CONFLICT (invoice_id) DO NOTHING
RETURNING invoice_id;

-- name: still_to_make
SELECT i.id AS invoice_id, i.number, i.period
FROM invoicing.unmailed_without_document AS u JOIN invoicing.invoice AS i ON i.id = u.id
WHERE u.id = ANY(%(ids)s) ORDER BY i.id;

-- name: keep_problems
-- A later run's list may have dropped it meanwhile: it is told of all the same.
INSERT INTO invoicing.unmade_document (invoice_id, run_id, problem)
SELECT x.invoice_id, %(run_id)s, x.problem FROM jsonb_to_recordset(%(rows)s) AS x(invoice_id bigint, problem jsonb)
ON CONFLICT (invoice_id) DO UPDATE SET problem = EXCLUDED.problem;

-- name: made
DELETE FROM invoicing.unmade_document AS u
WHERE u.invoice_id = ANY(%(ids)s)
  AND EXISTS (SELECT FROM invoicing.invoice_document AS doc WHERE doc.invoice_id = u.invoice_id);

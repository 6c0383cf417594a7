-- name: of_ledger
-- Different whenever something was written that a month's figures, or what needs a person, follow from. Each is one look
-- at the end of an index, or at a table that stays small.
SELECT (SELECT max(id) FROM invoicing.invoice) AS invoice,
       (SELECT max(id) FROM invoicing.invoice_correction) AS correction,
       (SELECT max(id) FROM invoicing.decision) AS decision,
       (SELECT max(id) FROM invoicing.delivery_event) AS event,
       (SELECT max(id) FROM invoicing.audit_event) AS change,
       (SELECT max(id) FROM invoicing.approval_request) AS request,
       (SELECT max(id) FROM invoicing.approval_answer) AS answer,
       (SELECT max(greatest(started_at, generated_at, counted_at, decided_at, ended_at)) FROM invoicing.cycle_run) AS run,
       (SELECT max(greatest(held_at, released_at)) FROM invoicing.sending_hold) AS hold,
       (SELECT max(id) FROM invoicing.lease) AS lease,
       (SELECT row(count(*), max(found_at), sum(total))::text FROM invoicing.drifted_invoice) AS drifted,
       (SELECT row(count(*), max(asked_at), count(problem))::text FROM invoicing.unmade_document) AS unmade;

-- name: of_tenants
SELECT (SELECT max(updated_at) FROM invoicing.tenant) AS changed_at, (SELECT max(id) FROM invoicing.tenant) AS newest_id;

-- Documents of invoices that nobody is mailed are made too, after the mail (setting unmailed_documents).

CREATE TABLE invoicing.unmade_document (
    invoice_id bigint PRIMARY KEY REFERENCES invoicing.invoice,
    run_id bigint NOT NULL REFERENCES invoicing.cycle_run,
    asked_at timestamptz NOT NULL DEFAULT now(),
    -- Why it could not be made, in both languages; null as long as nobody tried.
    problem jsonb CONSTRAINT unmade_document_problem_has_words CHECK (problem ?& '{es,en}')
);
COMMENT ON TABLE invoicing.unmade_document IS
    'Documents that nobody is mailed and a run asked for, as long as they are not made: found anew by each run.';

CREATE VIEW invoicing.unmailed_without_document AS
    SELECT i.id, i.number, i.cycle_id, false AS is_apart
    FROM invoicing.invoice AS i
    JOIN invoicing.decision AS c ON c.cycle_id = i.cycle_id AND c.tenant_id = i.tenant_id AND c.superseded_at IS NULL
    WHERE i.origin = 'monthly' AND NOT i.sent_apart AND i.state <> 'void'
      AND c.reason IS NOT NULL AND c.reason <> 'tenant_held' AND NOT invoicing.is_held(i.tenant_id, i.period)
      AND NOT EXISTS (SELECT FROM invoicing.invoice_document AS doc WHERE doc.invoice_id = i.id)
      AND NOT EXISTS (SELECT FROM invoicing.delivery_invoice AS di WHERE di.invoice_id = i.id AND di.live)
    UNION ALL
    -- Single invoices, credit notes, and what replaces a credited invoice are decided on one by one.
    SELECT i.id, i.number, i.cycle_id, true
    FROM invoicing.decision AS c
    JOIN invoicing.invoice AS i ON i.id = c.invoice_id
    WHERE c.invoice_id IS NOT NULL AND c.superseded_at IS NULL AND i.state <> 'void'
      AND c.reason IS NOT NULL AND c.reason <> 'tenant_held' AND NOT invoicing.is_held(i.tenant_id, i.period)
      AND NOT EXISTS (SELECT FROM invoicing.invoice_document AS doc WHERE doc.invoice_id = i.id)
      AND NOT EXISTS (SELECT FROM invoicing.delivery_invoice AS di WHERE di.invoice_id = i.id AND di.live);
COMMENT ON VIEW invoicing.unmailed_without_document IS
    'Invoices that have no document and of which it was decided that nobody is mailed: no message brings it along.';

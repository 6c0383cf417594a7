-- What years of running leave beside the rows of `bench/large_agency.sql`: for plans, which ask how many rows there are
-- and how alike, not what they say. For a superuser, with session_replication_role = replica.

INSERT INTO invoicing.invoice_withholding (invoice_id, tax, rate, base, amount)
SELECT id, 'retefuente', 0.035, 1000000, 35000 FROM invoicing.invoice WHERE id %% 6 = 0;
INSERT INTO invoicing.invoice_basis (invoice_id, basis) SELECT id, '{"lease": {}}' FROM invoicing.invoice;
INSERT INTO invoicing.sealed_invoice (invoice_id) SELECT id FROM invoicing.invoice;
INSERT INTO invoicing.invoice_document (invoice_id, key, sha256, size_bytes, template_version_id)
SELECT id, period || '/' || number, repeat('0', 64), 20000, 1 FROM invoicing.invoice;
INSERT INTO invoicing.charge (lease_id, concept, description, amount, tax, prorated, from_period)
SELECT id, 'administration', 'Administración', 250000, 'none', false, '2027-01' FROM invoicing.lease;

-- One invoice in 200 was credited, one in 300 is single.
INSERT INTO invoicing.invoice (series, serial, origin, kind, corrects, cycle_id, run_id, tenant_id, lease_id, settings_version_id,
                               period, issued_on, due_on, currency, subtotal, tax, withholding, total, tenant_name, tenant_document_type,
                               tenant_document_number, tenant_city, language, property, property_city, use)
SELECT 'NC-', serial, 'correction', 'credit_note', id, cycle_id, run_id, tenant_id, lease_id, settings_version_id,
       period, issued_on, due_on, currency, 1000, 0, 0, 1000, tenant_name, tenant_document_type,
       tenant_document_number, tenant_city, language, property, property_city, use
FROM invoicing.invoice WHERE id %% 200 = 0;
INSERT INTO invoicing.invoice (series, serial, origin, reference, tenant_id, settings_version_id, period, issued_on, due_on, currency,
                               subtotal, tax, withholding, total, tenant_name, tenant_document_type, tenant_document_number,
                               tenant_city, language, property, property_city, use)
SELECT 'S-', serial, 'single', 'R' || id, tenant_id, settings_version_id, period, issued_on, due_on, currency,
       1000, 0, 0, 1000, tenant_name, tenant_document_type, tenant_document_number,
       tenant_city, language, '', '', ''
FROM invoicing.invoice WHERE origin = 'monthly' AND id %% 300 = 0;
INSERT INTO invoicing.invoice_line (invoice_id, position, concept, description, amount, tax_rate, tax)
SELECT id, 1, 'rent', property, 1000, 0, 0 FROM invoicing.invoice WHERE origin <> 'monthly';
INSERT INTO invoicing.decision (run_id, tenant_id, invoice_id, invoice_count, reason, trace)
SELECT 1, tenant_id, id, 1, CASE WHEN id %% 10 = 0 THEN 'tenant_disabled' END, '[]' FROM invoicing.invoice WHERE origin <> 'monthly';
INSERT INTO invoicing.delivery (run_id, tenant_id, period, purpose, state, message_id, to_addresses, language, settings_version_id,
                                template_version_id, attempts, actor)
SELECT 1, tenant_id, period, 'initial', 'sent', '<s' || id || '@agencia.example>', '{a@correo.example}', 'es', settings_version_id,
       1, 1, 'bench'
FROM invoicing.invoice WHERE origin = 'single';
INSERT INTO invoicing.drifted_invoice (invoice_id) SELECT id FROM invoicing.invoice WHERE origin = 'monthly' AND id %% 500 = 0;

INSERT INTO invoicing.invoice_count (run_id, tenant_id, invoices)
SELECT run_id, tenant_id, invoice_count FROM invoicing.decision WHERE cycle_id IS NOT NULL;
INSERT INTO invoicing.delivery_event (delivery_id, from_state, to_state, claim_token, actor)
SELECT d.id, s.from_state, s.to_state, 1, 'bench' FROM invoicing.delivery AS d, (VALUES
    (NULL, 'pending'), ('pending', 'claimed'), ('claimed', 'transmitting'), ('transmitting', 'sent')) AS s (from_state, to_state);
INSERT INTO invoicing.sending_hold (tenant_id, period, reason, actor, released_at, released_by, release_reason)
SELECT tenant_id, period, 'bench', 'bench', now(), 'bench', 'bench' FROM invoicing.delivery WHERE id %% 400 = 0;
INSERT INTO invoicing.approval_request (scope, cycle_id, run_id, fingerprint, summary, actor)
SELECT 'month', cycle_id, id, repeat('0', 64), '{}', 'bench' FROM invoicing.cycle_run;
INSERT INTO invoicing.approval_item (request_id, delivery_id, fingerprint)
SELECT q.id, d.id, repeat('0', 64) FROM invoicing.approval_request AS q JOIN invoicing.delivery AS d ON d.cycle_id = q.cycle_id;
INSERT INTO invoicing.approval_answer (request_id, answer, via, actor) SELECT id, 'approved', 'page', 'bench' FROM invoicing.approval_request;
INSERT INTO invoicing.audit_event (actor, action, subject)
SELECT 'bench', 'tenant_changed', 'tenant ' || code FROM invoicing.tenant, generate_series(1, 4);
INSERT INTO invoicing.history_entry (source, key, sha256) SELECT 'invoice', id::text, '\x00' FROM invoicing.invoice;
INSERT INTO invoicing.history_entry (source, key, sha256) SELECT 'delivery', id::text, '\x00' FROM invoicing.delivery, generate_series(1, 2);
INSERT INTO invoicing.history_link (entry_id, sha256) SELECT id, '\x00' FROM invoicing.history_entry WHERE id %% 1000 <> 0;

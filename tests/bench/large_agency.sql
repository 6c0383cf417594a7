-- A large agency with a year behind it, for measuring the pages: 10,000 tenants, a month at a time.
-- Parameters: %(tenants)s, %(months)s (counted back from 2026-11). Filled by SQL: importing and running would take an hour.

INSERT INTO invoicing.settings_version (settings, actor)
VALUES ('{"auto_send": true, "agency_name": "Agencia", "from_email": "facturas@agencia.example"}', 'bench');

INSERT INTO invoicing.tenant (code, document_type, document_number, name, emails, auto_send, only_multiple)
SELECT 'T' || lpad(n::text, greatest(5, length(n::text)), '0'), 'CC', (10000000 + n)::text,
       (ARRAY['Ana', 'Íngrid', 'José', 'Ñusta', 'Camila'])[1 + n %% 5] || ' '
           || (ARRAY['Peña', 'Acuña', 'Zuluaga', 'Gómez', 'Rincón', 'Vélez', 'Ñáñez'])[1 + n %% 7] || ' ' || n,
       CASE WHEN n %% 40 = 0 THEN '{}' ELSE ARRAY['t' || n || '@correo.example'] END, n %% 11 <> 0, n %% 13 = 0
FROM generate_series(1, %(tenants)s) AS n;

INSERT INTO invoicing.lease (code, tenant_id, property, city, use, start_date, rent, currency)
SELECT 'L' || t.id || '-' || k, t.id, 'Calle ' || t.id || ' # ' || k, 'Bogotá', 'residential', '2020-01-01', 1000000, 'COP'
FROM invoicing.tenant AS t, generate_series(1, 3) AS k WHERE k = 1 OR t.id %% 5 < k - 1;

INSERT INTO invoicing.billing_cycle (period, state, opened_at, closed_at)
SELECT to_char(date '2026-11-01' - m * interval '1 month', 'YYYY-MM'), 'closed', now() - m * interval '30 days',
       now() - m * interval '30 days' + interval '20 min'
FROM generate_series(0, %(months)s - 1) AS m;

INSERT INTO invoicing.cycle_run (cycle_id, dag_id, dag_run_id, settings_version_id, template_version_id, code_version, state,
                                 started_at, generated_at, counted_at, decided_at, ended_at)
SELECT c.id, 'monthly_invoicing', 'manual__' || c.period, s.id, v.id, 'bench', 'success',
       c.opened_at, c.opened_at, c.opened_at, c.opened_at, c.closed_at
FROM invoicing.billing_cycle AS c, (SELECT max(id) AS id FROM invoicing.settings_version) AS s,
     (SELECT max(id) AS id FROM invoicing.template_version) AS v;

INSERT INTO invoicing.invoice_series (prefix, last_serial) VALUES ('FV-', 10000000);
INSERT INTO invoicing.invoice (series, serial, origin, cycle_id, run_id, tenant_id, lease_id, settings_version_id, period, issued_on,
                               due_on, currency, subtotal, tax, withholding, total, tenant_name, tenant_document_type,
                               tenant_document_number, tenant_city, language, property, property_city, use)
SELECT 'FV-', row_number() OVER (ORDER BY c.id, l.id), 'monthly', c.id, r.id, l.tenant_id, l.id, r.settings_version_id, c.period,
       (c.period || '-01')::date, (c.period || '-06')::date, 'COP', 1000000, 0, 0, 1000000, t.name, 'CC', t.document_number, 'Bogotá',
       'es', l.property, 'Bogotá', 'residential'
FROM invoicing.billing_cycle AS c JOIN invoicing.cycle_run AS r ON r.cycle_id = c.id, invoicing.lease AS l
JOIN invoicing.tenant AS t ON t.id = l.tenant_id;
INSERT INTO invoicing.invoice_line (invoice_id, position, concept, description, amount, tax_rate, tax)
SELECT id, 1, 'rent', property, 1000000, 0, 0 FROM invoicing.invoice;

INSERT INTO invoicing.decision (run_id, cycle_id, tenant_id, invoice_count, reason, trace)
SELECT r.id, r.cycle_id, t.id, n.invoices, d.reason,
       jsonb_build_array(
           jsonb_build_object('rule', 'sending_disabled', 'inputs', jsonb_build_object('auto_send', true), 'objects', false),
           jsonb_build_object('rule', 'tenant_disabled', 'inputs', jsonb_build_object('tenant_auto_send', t.auto_send), 'objects', NOT t.auto_send),
           jsonb_build_object('rule', 'global_only_multiple', 'inputs', jsonb_build_object('recipients', 'all', 'invoices', n.invoices), 'objects', false),
           jsonb_build_object('rule', 'tenant_only_multiple', 'inputs', jsonb_build_object('tenant_only_multiple', t.only_multiple, 'invoices', n.invoices), 'objects', t.only_multiple AND n.invoices < 2),
           jsonb_build_object('rule', 'no_email', 'inputs', jsonb_build_object('emails', cardinality(t.emails)), 'objects', t.emails = '{}'),
           jsonb_build_object('rule', 'invalid_email', 'inputs', jsonb_build_object('invalid', '[]'::jsonb), 'objects', false))
FROM invoicing.cycle_run AS r, invoicing.tenant AS t
JOIN (SELECT tenant_id, count(*) AS invoices FROM invoicing.lease GROUP BY tenant_id) AS n ON n.tenant_id = t.id
CROSS JOIN LATERAL (SELECT CASE WHEN NOT t.auto_send THEN 'tenant_disabled'
                                WHEN t.only_multiple AND n.invoices < 2 THEN 'tenant_only_multiple'
                                WHEN t.emails = '{}' THEN 'no_email' END AS reason) AS d;

INSERT INTO invoicing.delivery (run_id, cycle_id, tenant_id, period, purpose, state, message_id, to_addresses, language,
                                settings_version_id, template_version_id, claimed_by, attempts, last_reply, actor)
SELECT d.run_id, d.cycle_id, d.tenant_id, c.period, 'initial',
       CASE WHEN d.tenant_id %% 1500 = 7 THEN 'failed' WHEN d.tenant_id %% 4000 = 9 THEN 'in_doubt' ELSE 'sent' END,
       '<' || d.id || '@agencia.example>', t.emails, 'es', r.settings_version_id, r.template_version_id,
       'monthly_invoicing/' || r.dag_run_id || '/send_invoices/' || d.tenant_id %% 200, 1, '250 2.0.0 Ok: queued', 'bench'
FROM invoicing.decision AS d JOIN invoicing.cycle_run AS r ON r.id = d.run_id
JOIN invoicing.billing_cycle AS c ON c.id = d.cycle_id JOIN invoicing.tenant AS t ON t.id = d.tenant_id
WHERE d.reason IS NULL;
ALTER TABLE invoicing.delivery_invoice DISABLE TRIGGER delivery_invoice_is_guarded;
INSERT INTO invoicing.delivery_invoice (delivery_id, invoice_id, purpose)
SELECT d.id, i.id, 'initial' FROM invoicing.delivery AS d
JOIN invoicing.invoice AS i ON i.cycle_id = d.cycle_id AND i.tenant_id = d.tenant_id;
ALTER TABLE invoicing.delivery_invoice ENABLE TRIGGER delivery_invoice_is_guarded;
ALTER TABLE invoicing.delivery_attempt DISABLE TRIGGER delivery_attempt_is_guarded;
INSERT INTO invoicing.delivery_attempt (delivery_id, claim_token, claimed_by, host, started_at, marked_at, ended_at, verdict, phase, code, reply)
SELECT d.id, 1, d.claimed_by || ' try 1', 'bench', r.started_at, r.started_at + d.tenant_id * interval '0.1 s',
       r.started_at + d.tenant_id * interval '0.1 s' + interval '50 ms', 'accepted', 'reply', 250, '250 2.0.0 Ok: queued'
FROM invoicing.delivery AS d JOIN invoicing.cycle_run AS r ON r.id = d.run_id;
ALTER TABLE invoicing.delivery_attempt ENABLE TRIGGER delivery_attempt_is_guarded;

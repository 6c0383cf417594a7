-- After large_agency.sql: the month after, with invoices and pending deliveries of so many of its tenants: %(deliveries)s.

INSERT INTO invoicing.billing_cycle (period) VALUES ('2026-12');
INSERT INTO invoicing.cycle_run (cycle_id, dag_id, dag_run_id, settings_version_id, template_version_id, code_version)
SELECT c.id, 'monthly_invoicing', 'manual__2026-12', s.id, v.id, 'bench'
FROM invoicing.billing_cycle AS c, (SELECT max(id) AS id FROM invoicing.settings_version) AS s,
     (SELECT max(id) AS id FROM invoicing.template_version) AS v
WHERE c.period = '2026-12';

INSERT INTO invoicing.delivery (run_id, cycle_id, tenant_id, period, purpose, state, message_id, to_addresses, language,
                                settings_version_id, template_version_id, actor)
SELECT r.id, r.cycle_id, t.id, '2026-12', 'initial', 'pending', '<next-' || t.id || '@agencia.example>', t.emails, 'es',
       r.settings_version_id, r.template_version_id, 'bench'
FROM invoicing.cycle_run AS r,
     (SELECT id, emails FROM invoicing.tenant WHERE auto_send AND emails <> '{}' ORDER BY random() LIMIT %(deliveries)s) AS t
WHERE r.dag_run_id = 'manual__2026-12';

INSERT INTO invoicing.invoice (series, serial, origin, cycle_id, run_id, tenant_id, lease_id, settings_version_id, period, issued_on,
                               due_on, currency, subtotal, tax, withholding, total, tenant_name, tenant_document_type,
                               tenant_document_number, tenant_city, language, property, property_city, use)
SELECT 'FV-', 9000000 + row_number() OVER (ORDER BY l.id), 'monthly', r.cycle_id, r.id, l.tenant_id, l.id, r.settings_version_id, '2026-12',
       '2026-12-01', '2026-12-06', 'COP', 1000000, 0, 0, 1000000, t.name, 'CC', t.document_number, 'Bogotá', 'es', l.property,
       'Bogotá', 'residential'
FROM invoicing.cycle_run AS r JOIN invoicing.delivery AS d ON d.run_id = r.id
JOIN invoicing.lease AS l ON l.tenant_id = d.tenant_id JOIN invoicing.tenant AS t ON t.id = l.tenant_id
WHERE r.dag_run_id = 'manual__2026-12';
INSERT INTO invoicing.invoice_line (invoice_id, position, concept, description, amount, tax_rate, tax)
SELECT id, 1, 'rent', property, 1000000, 0, 0 FROM invoicing.invoice WHERE period = '2026-12';

ALTER TABLE invoicing.delivery_invoice DISABLE TRIGGER delivery_invoice_is_guarded;
INSERT INTO invoicing.delivery_invoice (delivery_id, invoice_id, purpose)
SELECT d.id, i.id, 'initial' FROM invoicing.delivery AS d
JOIN invoicing.invoice AS i ON i.cycle_id = d.cycle_id AND i.tenant_id = d.tenant_id WHERE d.period = '2026-12';
ALTER TABLE invoicing.delivery_invoice ENABLE TRIGGER delivery_invoice_is_guarded;

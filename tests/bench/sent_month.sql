-- After large_agency.sql, filled without triggers: what they, and the tasks, would have written of a month that was sent.
-- A sent delivery has four events (made, claimed, marked, settled) and an attempt that was written three times; each row
-- that counts has an entry of the chained history each time it was written.

INSERT INTO invoicing.sealed_invoice (invoice_id) SELECT id FROM invoicing.invoice;
INSERT INTO invoicing.invoice_basis (invoice_id, basis)
SELECT i.id, jsonb_build_object(
    'tenant', jsonb_build_object('withholding_agent', false, 'city', 'Bogotá'),
    'lease', jsonb_build_object('code', l.code, 'property', l.property, 'city', l.city, 'use', l.use, 'rent', l.rent::text,
                                'start_date', l.start_date, 'end_date', l.end_date, 'currency', l.currency),
    'charges', '[]'::jsonb, 'rates', '[]'::jsonb)
FROM invoicing.invoice AS i JOIN invoicing.lease AS l ON l.id = i.lease_id;
INSERT INTO invoicing.invoice_document (invoice_id, sha256, size_bytes, template_version_id, key)
SELECT i.id, encode(sha256(i.number::bytea), 'hex'), 30000, r.template_version_id,
       i.period || '/' || left(encode(sha256(i.number::bytea), 'hex'), 12) || '-' || i.number || '.pdf'
FROM invoicing.invoice AS i JOIN invoicing.cycle_run AS r ON r.id = i.run_id;
INSERT INTO invoicing.invoice_count (run_id, tenant_id, invoices)
SELECT run_id, tenant_id, invoice_count FROM invoicing.decision;

INSERT INTO invoicing.delivery_event (delivery_id, at, from_state, to_state, claim_token, actor, reply)
SELECT d.id, d.created_at, e.before, e.after, e.token, coalesce(d.claimed_by, d.actor) || ' try 1', e.reply
FROM invoicing.delivery AS d,
     (VALUES (1, NULL, 'pending', 0, NULL), (2, 'pending', 'claimed', 1, NULL), (3, 'claimed', 'transmitting', 1, NULL),
             (4, 'transmitting', 'sent', 1, '250 2.0.0 Ok: queued')) AS e (step, before, after, token, reply)
ORDER BY d.id, e.step;

INSERT INTO invoicing.history_entry (source, key, sha256)
SELECT source, key, sha256((source || key || n)::bytea)
FROM (SELECT 'tenant' AS source, id::text AS key, 1 AS times FROM invoicing.tenant
      UNION ALL SELECT 'lease', id::text, 1 FROM invoicing.lease
      UNION ALL SELECT 'invoice', id::text, 1 FROM invoicing.invoice
      UNION ALL SELECT 'invoice_line', invoice_id || '/' || position, 1 FROM invoicing.invoice_line
      UNION ALL SELECT 'invoice_basis', invoice_id::text, 1 FROM invoicing.invoice_basis
      UNION ALL SELECT 'invoice_document', invoice_id::text, 1 FROM invoicing.invoice_document
      UNION ALL SELECT 'decision', id::text, 1 FROM invoicing.decision
      UNION ALL SELECT 'delivery', id::text, 4 FROM invoicing.delivery
      UNION ALL SELECT 'delivery_invoice', delivery_id || '/' || invoice_id, 1 FROM invoicing.delivery_invoice
      UNION ALL SELECT 'delivery_attempt', delivery_id || '/' || claim_token, 3 FROM invoicing.delivery_attempt
      UNION ALL SELECT 'delivery_event', id::text, 1 FROM invoicing.delivery_event) AS written,
     generate_series(1, times) AS n;
INSERT INTO invoicing.history_link (entry_id, sha256) SELECT id, sha256(sha256) FROM invoicing.history_entry;

-- A large agency to bill a month of, in rows as an import makes them. Parameter: %(leases)s.
-- One tenant in nine has two leases. Every third lease is commercial; one commercial tenant in two withholds. Some begin
-- or end within November 2026, some have ended, some have discounts and charges of other months.

INSERT INTO invoicing.tax_rate (tax, city, rate, minimum_base, valid_from) VALUES
    ('iva', '', 0.19, 0, '2017-01-01'), ('retefuente', '', 0.035, 1271000, '2017-01-01'), ('reteiva', '', 0.15, 0, '2017-01-01'),
    ('reteica', 'Bogotá', 0.00966, 0, '2017-01-01'), ('reteica', 'Medellín', 0.008, 0, '2017-01-01');

INSERT INTO invoicing.tenant (code, document_type, document_number, name, emails, cc_emails, city, withholding_agent,
                              auto_send, only_multiple)
SELECT 'T' || lpad(n::text, 7, '0'), CASE n %% 3 WHEN 0 THEN 'NIT' ELSE 'CC' END, (10000000 + n)::text,
       (ARRAY['Ana', 'Íngrid', 'José', 'Ñusta', 'Camila'])[1 + n %% 5] || ' '
           || (ARRAY['Peña', 'Acuña', 'Zuluaga', 'Gómez', 'Rincón', 'Vélez', 'Ñáñez'])[1 + n %% 7] || ' ' || n,
       CASE WHEN n %% 40 = 0 THEN '{}' WHEN n %% 97 = 0 THEN ARRAY['roto@@correo.example'] ELSE ARRAY['t' || n || '@correo.example'] END,
       CASE WHEN n %% 20 = 1 THEN ARRAY['copia' || n || '@correo.example'] ELSE '{}' END,
       (ARRAY['Bogotá', 'Medellín'])[1 + n %% 2], n %% 6 = 0, n %% 11 <> 0, n %% 13 = 0
FROM generate_series(1, %(leases)s * 9 / 10) AS n;

INSERT INTO invoicing.lease (code, tenant_id, property, city, use, start_date, end_date, rent, currency)
SELECT 'L' || lpad(n::text, 7, '0'), t.id, 'Calle ' || n || ' # 1-23, apto ' || n %% 900,
       (ARRAY['Bogotá', 'Medellín'])[1 + n %% 2], CASE n %% 3 WHEN 0 THEN 'commercial' ELSE 'residential' END,
       CASE WHEN n %% 50 = 7 THEN date '2026-11-11' ELSE date '2024-01-01' END,
       CASE WHEN n %% 60 = 9 THEN date '2026-11-20' END,
       1000000 + n, 'COP'
FROM generate_series(1, %(leases)s) AS n
JOIN (SELECT id, row_number() OVER (ORDER BY id) AS place FROM invoicing.tenant) AS t
    ON t.place = 1 + (n - 1) %% (%(leases)s * 9 / 10);

INSERT INTO invoicing.charge (lease_id, concept, description, amount, tax, prorated, from_period, to_period)
SELECT l.id, c.concept, c.description, c.amount, c.tax, c.prorated, c.from_period, c.to_period
FROM (SELECT id, row_number() OVER (ORDER BY id) AS place FROM invoicing.lease) AS l JOIN (VALUES
    (1, 'administration', 'Administración', 250000, 'none', false, NULL, NULL),
    (3, 'parking', 'Parqueadero', 90000, 'iva', true, NULL, NULL),
    (7, 'discount', 'Descuento', -50000, 'none', false, '2026-10', '2026-12'),
    (9, 'repairs', 'Reparaciones', 120000, 'none', false, '2025-01', '2025-02')
) AS c (nth, concept, description, amount, tax, prorated, from_period, to_period) ON l.place %% c.nth = 0;

-- A claimed delivery in the schema before migration 0007, when a worker's claim was called a lease.
INSERT INTO invoicing.tenant (code, document_type, document_number, name)
VALUES ('T', 'CC', '1', 'Ana');
INSERT INTO invoicing.settings_version (settings, actor) VALUES ('{}', 'test');
INSERT INTO invoicing.template_version (name, version, parts, actor) VALUES ('x', 1, '{}', 'test');
INSERT INTO invoicing.delivery (tenant_id, period, purpose, message_id, to_addresses, language,
    settings_version_id, template_version_id, actor)
VALUES (1, '2026-11', 'initial', '<a@b>', '{a@b.co}', 'es', 1, 1, 'test');
UPDATE invoicing.delivery SET state = 'claimed', lease_token = 1, attempts = 1,
    lease_until = '2026-11-01 12:00+00';
INSERT INTO invoicing.delivery_attempt (delivery_id, lease_token, claimed_by, host)
VALUES (1, 1, 'd/r/t/0', 'h');

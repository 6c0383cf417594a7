-- name: add_audit_event
INSERT INTO invoicing.audit_event (actor, action, subject, details)
VALUES (%(actor)s, %(action)s, %(subject)s, %(details)s);

-- name: last_transmitted
SELECT payload_sha256 FROM invoicing.delivery_attempt
WHERE delivery_id = %(id)s AND payload_sha256 <> '' ORDER BY claim_token DESC LIMIT 1;

-- name: tenant_of_today
SELECT t.language, t.emails, t.cc_emails FROM invoicing.delivery AS d
JOIN invoicing.tenant AS t ON t.id = d.tenant_id WHERE d.id = %(id)s;

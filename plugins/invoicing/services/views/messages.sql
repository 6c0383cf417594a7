-- name: last_transmitted
SELECT payload_sha256 FROM invoicing.delivery_attempt
WHERE delivery_id = %(id)s AND payload_sha256 <> '' ORDER BY claim_token DESC LIMIT 1;

-- name: tenants_with_doubtful_address
SELECT id, emails || cc_emails AS addresses FROM invoicing.tenant WHERE doubtful_address;

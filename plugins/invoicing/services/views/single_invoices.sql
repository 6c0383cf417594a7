-- name: single_invoices
SELECT i.reference, i.number, t.code AS tenant, i.issued_on, i.due_on, i.total, i.currency, i.state,
       d.id AS decision_id, d.reason,
       (SELECT v.state FROM invoicing.delivery AS v
        JOIN invoicing.delivery_invoice AS di ON di.delivery_id = v.id
        WHERE di.invoice_id = i.id ORDER BY v.id DESC LIMIT 1) AS delivery
FROM invoicing.invoice AS i JOIN invoicing.tenant AS t ON t.id = i.tenant_id
LEFT JOIN invoicing.decision AS d ON d.invoice_id = i.id AND d.superseded_at IS NULL
WHERE i.origin = 'single'
ORDER BY i.series, i.serial;

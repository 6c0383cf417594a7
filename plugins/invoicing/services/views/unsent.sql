-- name: hold_of
SELECT reason, actor, held_at, tenant_id IS NULL AS is_of_month FROM invoicing.sending_hold
WHERE period = %(period)s AND (tenant_id = %(tenant_id)s OR tenant_id IS NULL) AND released_at IS NULL
ORDER BY tenant_id IS NULL LIMIT 1;

-- name: unsent_of_tenant
-- The months, newest first, with standing invoices that no message carries that was accepted, may have been, or is on its way.
SELECT i.period, count(*) AS invoices, invoicing.is_held(i.tenant_id, i.period) AS is_held
FROM invoicing.invoice AS i
WHERE i.tenant_id = %(tenant_id)s AND i.origin = 'monthly' AND i.stands AND NOT i.sent_apart
  AND (%(period)s::text IS NULL OR i.period = %(period)s)
  AND NOT EXISTS (
      SELECT FROM invoicing.delivery_invoice AS di JOIN invoicing.delivery AS d ON d.id = di.delivery_id
      LEFT JOIN invoicing.cycle_run AS r ON r.id = d.run_id
      WHERE di.invoice_id = i.id
        AND (d.state IN ('sent', 'in_doubt', 'claimed', 'transmitting') OR d.given_up
             OR d.state = 'pending' AND (d.on_request OR r.state = 'running')))
GROUP BY i.tenant_id, i.period ORDER BY i.period DESC LIMIT 3;

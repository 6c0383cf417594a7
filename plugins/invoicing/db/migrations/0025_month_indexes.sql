-- outside a transaction
-- A month of years is looked up: its invoices of every kind, for an export; and the attempts of late, for the pace of a run.
DROP INDEX CONCURRENTLY IF EXISTS invoicing.invoice_period;
-- step
CREATE INDEX CONCURRENTLY invoice_period ON invoicing.invoice (period, lease_id);
-- step
COMMENT ON INDEX invoicing.invoice_period IS 'Which leases a month lacks is asked by every look at it.';
-- step
DROP INDEX CONCURRENTLY IF EXISTS invoicing.invoice_monthly_of_period;
-- step
DROP INDEX CONCURRENTLY IF EXISTS invoicing.delivery_attempt_started;
-- step
CREATE INDEX CONCURRENTLY delivery_attempt_started ON invoicing.delivery_attempt (started_at);

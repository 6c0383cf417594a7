-- outside a transaction
-- A page of a list is the walk of an index, however many tenants there are; what a page counts, an index has.
DROP INDEX CONCURRENTLY IF EXISTS invoicing.tenant_by_name;
-- step
CREATE INDEX CONCURRENTLY tenant_by_name ON invoicing.tenant (plain_name, code);
-- step
DROP INDEX CONCURRENTLY IF EXISTS invoicing.tenant_by_update;
-- step
CREATE INDEX CONCURRENTLY tenant_by_update ON invoicing.tenant (updated_at, code);
-- step
DROP INDEX CONCURRENTLY IF EXISTS invoicing.tenant_switches;
-- step
CREATE INDEX CONCURRENTLY tenant_switches ON invoicing.tenant (auto_send, only_multiple);
-- step
DROP INDEX CONCURRENTLY IF EXISTS invoicing.tenant_without_address;
-- step
CREATE INDEX CONCURRENTLY tenant_without_address ON invoicing.tenant (code) WHERE emails = '{}';
-- step
DROP INDEX CONCURRENTLY IF EXISTS invoicing.tenant_words;
-- step
CREATE INDEX CONCURRENTLY tenant_words ON invoicing.tenant USING gin (words gin_trgm_ops);
-- step
DROP INDEX CONCURRENTLY IF EXISTS invoicing.decision_by_count;
-- step
CREATE INDEX CONCURRENTLY decision_by_count ON invoicing.decision (cycle_id, invoice_count, tenant_id) WHERE superseded_at IS NULL;
-- step
DROP INDEX CONCURRENTLY IF EXISTS invoicing.decision_by_reason;
-- step
CREATE INDEX CONCURRENTLY decision_by_reason ON invoicing.decision (cycle_id, (coalesce(reason, '')), tenant_id) WHERE superseded_at IS NULL;
-- step
DROP INDEX CONCURRENTLY IF EXISTS invoicing.delivery_by_state;
-- step
CREATE INDEX CONCURRENTLY delivery_by_state ON invoicing.delivery (cycle_id, state, id);
-- step
DROP INDEX CONCURRENTLY IF EXISTS invoicing.delivery_cycle_state;
-- step
DROP INDEX CONCURRENTLY IF EXISTS invoicing.delivery_by_update;
-- step
CREATE INDEX CONCURRENTLY delivery_by_update ON invoicing.delivery (cycle_id, updated_at, id);
-- step
DROP INDEX CONCURRENTLY IF EXISTS invoicing.invoice_of_cycle_by_number;
-- step
CREATE INDEX CONCURRENTLY invoice_of_cycle_by_number ON invoicing.invoice (cycle_id, series, serial);

-- A page of a list is the walk of an index, however many tenants there are; what a page counts, an index has.

CREATE INDEX tenant_by_name ON invoicing.tenant (plain_name, code);
CREATE INDEX tenant_by_update ON invoicing.tenant (updated_at, code);
CREATE INDEX tenant_switches ON invoicing.tenant (auto_send, only_multiple);
CREATE INDEX tenant_without_address ON invoicing.tenant (code) WHERE emails = '{}';
CREATE INDEX tenant_words ON invoicing.tenant USING gin (words gin_trgm_ops);

CREATE INDEX decision_by_count ON invoicing.decision (cycle_id, invoice_count, tenant_id) WHERE superseded_at IS NULL;
CREATE INDEX decision_by_reason ON invoicing.decision (cycle_id, (coalesce(reason, '')), tenant_id) WHERE superseded_at IS NULL;
CREATE INDEX delivery_by_state ON invoicing.delivery (cycle_id, state, id);
DROP INDEX invoicing.delivery_cycle_state;
CREATE INDEX delivery_by_update ON invoicing.delivery (cycle_id, updated_at, id);
CREATE INDEX invoice_of_cycle_by_number ON invoicing.invoice (cycle_id, series, serial);

-- What the pages count, month by month: the index alone answers.

CREATE INDEX invoice_cycle_sums ON invoicing.invoice (cycle_id, currency) INCLUDE (total)
    WHERE origin = 'monthly' AND state = 'issued';
CREATE INDEX decision_cycle_outcome ON invoicing.decision (cycle_id, reason) WHERE superseded_at IS NULL;
CREATE INDEX delivery_cycle_state ON invoicing.delivery (cycle_id, state);
-- What lies outside of the months is little, and is not looked for among all the rest.
CREATE INDEX invoice_single ON invoicing.invoice (id) WHERE origin = 'single';
CREATE INDEX delivery_again ON invoicing.delivery (id) WHERE purpose = 'resend' OR on_request;
CREATE INDEX delivery_run ON invoicing.delivery (run_id);

-- Invoices that would come out differently today: found where leases, charges or rates change, since working out a large
-- agency's month anew takes seconds. Which leases nobody billed is asked anew each time.

CREATE TABLE invoicing.drifted_invoice (
    invoice_id bigint PRIMARY KEY REFERENCES invoicing.invoice,
    -- Both empty where nothing would be billed, or the invoice cannot be worked out.
    total numeric,
    currency text,
    found_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE invoicing.drifted_invoice IS
    'Monthly invoices that would come out differently today, with the total they would have: as of the last import or run.';

CREATE INDEX invoice_standing_of_period ON invoicing.invoice (period, lease_id)
    WHERE origin = 'monthly' AND state = 'issued';
COMMENT ON INDEX invoicing.invoice_standing_of_period IS 'Which leases a month lacks is asked by every look at it.';

-- A lease is a tenant's contract and nothing else: what a worker has of a delivery is a claim. And a word on each table.

ALTER TABLE invoicing.delivery RENAME COLUMN lease_token TO claim_token;
ALTER TABLE invoicing.delivery RENAME COLUMN lease_until TO claim_until;
ALTER TABLE invoicing.delivery RENAME CONSTRAINT delivery_lease_while_held TO delivery_claim_while_held;
ALTER TABLE invoicing.delivery_attempt RENAME COLUMN lease_token TO claim_token;
ALTER TABLE invoicing.delivery_event RENAME COLUMN lease_token TO claim_token;
-- Since PostgreSQL 18 NOT NULL has a name too, made of the column's.
DO $$
DECLARE
    named record;
BEGIN
    FOR named IN
        SELECT conrelid::regclass AS holder, conname FROM pg_constraint
        WHERE connamespace = 'invoicing'::regnamespace AND conname LIKE '%\_lease\_token\_not\_null'
    LOOP
        EXECUTE format('ALTER TABLE %s RENAME CONSTRAINT %I TO %I', named.holder, named.conname,
                       replace(named.conname, 'lease_token', 'claim_token'));
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION invoicing.guard_delivery() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'delivery % is kept: cancel it instead', OLD.id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF (OLD.state, NEW.state) NOT IN (
        ('pending', 'pending'), ('pending', 'claimed'), ('pending', 'held'), ('pending', 'cancelled'),
        ('claimed', 'claimed'), ('claimed', 'transmitting'), ('claimed', 'pending'), ('claimed', 'failed'),
        ('transmitting', 'transmitting'), ('transmitting', 'sent'), ('transmitting', 'pending'),
        ('transmitting', 'failed'), ('transmitting', 'in_doubt'),
        ('in_doubt', 'sent'), ('in_doubt', 'pending'), ('in_doubt', 'failed'),
        ('failed', 'pending'), ('failed', 'cancelled'),
        ('held', 'pending'), ('held', 'cancelled')
    ) AND NOT (
        -- Evidence that came late: an attempt is known to have been accepted, so nothing is left to be sent.
        (OLD.state, NEW.state) IN (('pending', 'sent'), ('failed', 'sent')) AND EXISTS (
            SELECT FROM invoicing.delivery_attempt AS a WHERE a.delivery_id = OLD.id AND a.verdict = 'accepted')
    ) THEN
        RAISE EXCEPTION 'delivery % cannot go from % to %', OLD.id, OLD.state, NEW.state
            USING ERRCODE = 'check_violation', CONSTRAINT = 'delivery_transition_allowed';
    END IF;
    IF NEW.claim_token < OLD.claim_token THEN
        RAISE EXCEPTION 'delivery %: the claim token never falls', OLD.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'delivery_token_grows';
    END IF;
    -- The content freezes at the first attempt. A refused delivery that a person reopens may go to fixed
    -- addresses: the relay is known to have accepted nothing.
    IF (NEW.message_id, NEW.tenant_id, NEW.purpose, NEW.period) <> (OLD.message_id, OLD.tenant_id, OLD.purpose, OLD.period)
        OR NEW.cycle_id IS DISTINCT FROM OLD.cycle_id
        OR OLD.attempts > 0 AND (NEW.message_date, NEW.language, NEW.settings_version_id, NEW.template_version_id)
            <> (OLD.message_date, OLD.language, OLD.settings_version_id, OLD.template_version_id)
        OR OLD.attempts > 0 AND (NEW.to_addresses, NEW.cc_addresses) <> (OLD.to_addresses, OLD.cc_addresses)
            AND (OLD.state, NEW.state) <> ('failed', 'pending') THEN
        RAISE EXCEPTION 'delivery %: its content is frozen since its first attempt', OLD.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'delivery_content_frozen';
    END IF;
    NEW.updated_at := clock_timestamp();
    RETURN NEW;
END $$;

CREATE OR REPLACE FUNCTION invoicing.record_delivery_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO invoicing.delivery_event (delivery_id, from_state, to_state, claim_token, actor, reason)
        VALUES (NEW.id, NULL, NEW.state, NEW.claim_token, NEW.actor, NEW.reason);
    ELSIF OLD.state <> NEW.state OR OLD.claim_token <> NEW.claim_token THEN
        INSERT INTO invoicing.delivery_event (delivery_id, from_state, to_state, claim_token, actor, reason, reply)
        VALUES (NEW.id, OLD.state, NEW.state, NEW.claim_token, NEW.actor, NEW.reason, NEW.last_reply);
        IF NEW.state = 'cancelled' THEN
            UPDATE invoicing.delivery_invoice SET live = false WHERE delivery_id = NEW.id;
        END IF;
    END IF;
    RETURN NULL;
END $$;

COMMENT ON TABLE invoicing.schema_migration IS 'Migrations that were applied, with their checksums.';
COMMENT ON TABLE invoicing.tenant IS 'Who is billed, with the two switches of the automatic sending.';
COMMENT ON TABLE invoicing.lease IS 'A tenant''s contract: property, dates, rent. Nothing else is called a lease.';
COMMENT ON TABLE invoicing.charge IS 'What is billed beside the rent of a lease: a file''s rows, replaced by each import.';
COMMENT ON TABLE invoicing.tax_rate IS 'Rates of IVA and of the withholdings, with the days they are in force.';
COMMENT ON TABLE invoicing.settings_version IS 'Every version of the settings; the newest is in force. Immutable.';
COMMENT ON TABLE invoicing.template_version IS 'Every version of every template. Immutable.';
COMMENT ON TABLE invoicing.audit_event IS 'What a person did: who, when, to what. Immutable.';
COMMENT ON TABLE invoicing.billing_cycle IS 'A month that is billed; open until a run finds it balanced.';
COMMENT ON TABLE invoicing.cycle_run IS 'One DAG run, with the snapshot of settings and template that it uses.';
COMMENT ON TABLE invoicing.invoice_series IS 'The last number taken of each prefix: numbers have no gaps.';
COMMENT ON TABLE invoicing.invoice IS 'An issued invoice. It never changes, but may be voided.';
COMMENT ON TABLE invoicing.invoice_line IS 'The lines of an invoice, with their IVA. Immutable.';
COMMENT ON TABLE invoicing.invoice_withholding IS 'What the tenant of an invoice withholds. Immutable.';
COMMENT ON TABLE invoicing.invoice_document IS 'Where the PDF of an invoice is kept, and its SHA-256. Immutable.';
COMMENT ON TABLE invoicing.unissued_invoice IS 'Leases of a cycle whose total is nothing or less: reported, not invoiced.';
COMMENT ON TABLE invoicing.invoice_count IS 'Invoices per tenant, as one run counted them.';
COMMENT ON TABLE invoicing.decision IS 'Whether a tenant (or a single invoice) gets mail, why, and every rule that was asked.';
COMMENT ON TABLE invoicing.delivery IS 'A message to a tenant and its state: pending, claimed, transmitting, sent, failed, in_doubt, held, cancelled.';
COMMENT ON TABLE invoicing.delivery_invoice IS 'The invoices that a delivery carries.';
COMMENT ON TABLE invoicing.delivery_attempt IS 'One claim of a delivery by a worker: how far it came, and what the relay said.';
COMMENT ON TABLE invoicing.delivery_event IS 'Every change of a delivery''s state: who, when, why. Immutable.';
COMMENT ON TABLE invoicing.transmission_slot IS 'Transmissions under way and just ended, for the limit per minute.';

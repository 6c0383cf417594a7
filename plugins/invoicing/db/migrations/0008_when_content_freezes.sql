-- A delivery's content freezes when its message may have left: until then a new execution takes what is in force today. What
-- may have been accepted is never withdrawn, and proof of it counts whenever it comes. The automatic sending is a brake.

CREATE FUNCTION invoicing.may_have_left(delivery bigint) RETURNS boolean STABLE LANGUAGE sql AS $$
    SELECT EXISTS (
        SELECT FROM invoicing.delivery_attempt AS a
        WHERE a.delivery_id = delivery AND a.marked_at IS NOT NULL
          AND (a.verdict IS NULL OR a.verdict IN ('accepted', 'in_doubt')))
$$;
COMMENT ON FUNCTION invoicing.may_have_left(bigint) IS
    'Whether a transmission of the delivery was marked and is not known to have failed.';

CREATE VIEW invoicing.settings_in_force AS
    SELECT id, coalesce((settings ->> 'auto_send')::boolean, false) AS auto_send,
           coalesce((settings ->> 'per_minute_limit')::integer, 0) AS per_minute_limit
    FROM invoicing.settings_version ORDER BY id DESC LIMIT 1;
COMMENT ON VIEW invoicing.settings_in_force IS 'The newest settings, as far as SQL asks them.';

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
        -- What a person withdrew, a person may send after all.
        (OLD.state, NEW.state) = ('cancelled', 'pending') AND OLD.given_up
    ) AND NOT (
        -- Evidence that came late: an attempt is known to have been accepted, so nothing is left to be sent.
        NEW.state = 'sent' AND OLD.state IN ('pending', 'failed', 'held', 'cancelled') AND EXISTS (
            SELECT FROM invoicing.delivery_attempt AS a WHERE a.delivery_id = OLD.id AND a.verdict = 'accepted')
    ) THEN
        RAISE EXCEPTION 'delivery % cannot go from % to %', OLD.id, OLD.state, NEW.state
            USING ERRCODE = 'check_violation', CONSTRAINT = 'delivery_transition_allowed';
    END IF;
    IF NEW.claim_token < OLD.claim_token THEN
        RAISE EXCEPTION 'delivery %: the claim token never falls', OLD.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'delivery_token_grows';
    END IF;
    -- What may have been accepted is settled by evidence or by a person, never withdrawn.
    IF OLD.state <> 'cancelled' AND NEW.state = 'cancelled' AND invoicing.may_have_left(OLD.id) THEN
        RAISE EXCEPTION 'delivery % may have been accepted: it cannot be cancelled', OLD.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'delivery_cancelled_unsent';
    END IF;
    IF (NEW.message_id, NEW.tenant_id, NEW.purpose, NEW.period) <> (OLD.message_id, OLD.tenant_id, OLD.purpose, OLD.period)
        OR NEW.cycle_id IS DISTINCT FROM OLD.cycle_id THEN
        RAISE EXCEPTION 'delivery %: what it is, is frozen', OLD.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'delivery_content_frozen';
    END IF;
    -- The content freezes at the mark: while a worker composes it, and ever after where the message may have left.
    IF (NEW.message_date, NEW.language, NEW.settings_version_id, NEW.template_version_id, NEW.to_addresses, NEW.cc_addresses)
            <> (OLD.message_date, OLD.language, OLD.settings_version_id, OLD.template_version_id, OLD.to_addresses,
                OLD.cc_addresses)
        AND (OLD.state IN ('claimed', 'transmitting') AND NEW.claim_token = OLD.claim_token
             OR invoicing.may_have_left(OLD.id)) THEN
        RAISE EXCEPTION 'delivery %: its content is frozen, the message may have left', OLD.id
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
        IF NEW.state = 'cancelled' AND NOT NEW.given_up THEN
            UPDATE invoicing.delivery_invoice SET live = false WHERE delivery_id = NEW.id;
        ELSIF OLD.state = 'cancelled' AND NOT OLD.given_up THEN
            -- Accepted after all: its invoices count as carried, but for those that another one carries by now.
            UPDATE invoicing.delivery_invoice AS di SET live = true
            WHERE di.delivery_id = NEW.id AND NOT EXISTS (
                SELECT FROM invoicing.delivery_invoice AS other
                WHERE other.invoice_id = di.invoice_id AND other.purpose = 'initial' AND other.live);
        END IF;
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION invoicing.guard_delivery_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    owner record;
BEGIN
    SELECT purpose, attempts, state = 'cancelled' AND NOT given_up AS is_withdrawn INTO owner FROM invoicing.delivery
    WHERE id = coalesce(NEW.delivery_id, OLD.delivery_id);
    IF TG_OP = 'UPDATE' AND (NEW.delivery_id, NEW.invoice_id, NEW.purpose) = (OLD.delivery_id, OLD.invoice_id, OLD.purpose)
        AND NEW.live = NOT owner.is_withdrawn THEN
        RETURN NEW;
    END IF;
    IF TG_OP = 'INSERT' AND owner.attempts = 0 AND NEW.purpose = owner.purpose AND NEW.live = NOT owner.is_withdrawn THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'delivery %: its invoices are frozen', coalesce(NEW.delivery_id, OLD.delivery_id)
        USING ERRCODE = 'check_violation', CONSTRAINT = 'delivery_invoices_frozen';
END $$;

CREATE INDEX transmission_slot_ended ON invoicing.transmission_slot (ended_at);
CREATE INDEX delivery_withdrawn ON invoicing.delivery (id) WHERE state = 'cancelled';
CREATE INDEX delivery_family ON invoicing.delivery ((coalesce(resend_of, id)));
CREATE INDEX delivery_period ON invoicing.delivery (period, id);

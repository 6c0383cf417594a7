-- Who was to get mail and why; what was sent, how often it was tried, and what the relay said.

-- Invoices per tenant as `count_invoices` counted them for one run.
CREATE TABLE invoicing.invoice_count (
    run_id bigint NOT NULL REFERENCES invoicing.cycle_run ON DELETE CASCADE,
    tenant_id bigint NOT NULL REFERENCES invoicing.tenant,
    invoices integer NOT NULL CONSTRAINT invoice_count_at_least_one CHECK (invoices >= 1),
    PRIMARY KEY (run_id, tenant_id)
);

CREATE TABLE invoicing.decision (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id bigint NOT NULL REFERENCES invoicing.cycle_run,
    cycle_id bigint REFERENCES invoicing.billing_cycle,
    tenant_id bigint NOT NULL REFERENCES invoicing.tenant,
    -- A single invoice is decided on by itself.
    invoice_id bigint REFERENCES invoicing.invoice,
    invoice_count integer NOT NULL,
    reason text,
    trace jsonb NOT NULL,
    decided_at timestamptz NOT NULL DEFAULT now(),
    superseded_at timestamptz,
    CONSTRAINT decision_is_on_a_cycle_or_an_invoice CHECK ((cycle_id IS NULL) <> (invoice_id IS NULL))
);
CREATE UNIQUE INDEX decision_one_current_a_tenant ON invoicing.decision (cycle_id, tenant_id)
    WHERE superseded_at IS NULL AND cycle_id IS NOT NULL;
CREATE UNIQUE INDEX decision_one_current_a_single_invoice ON invoicing.decision (invoice_id)
    WHERE superseded_at IS NULL AND invoice_id IS NOT NULL;

CREATE TABLE invoicing.delivery (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id bigint REFERENCES invoicing.cycle_run,
    cycle_id bigint REFERENCES invoicing.billing_cycle,
    tenant_id bigint NOT NULL REFERENCES invoicing.tenant,
    period invoicing.period NOT NULL,
    purpose text NOT NULL CONSTRAINT delivery_purpose_known CHECK (purpose IN ('initial', 'resend')),
    generation integer NOT NULL DEFAULT 1 CONSTRAINT delivery_generation_counts_from_one CHECK (generation >= 1),
    resend_of bigint REFERENCES invoicing.delivery,
    state text NOT NULL DEFAULT 'pending' CONSTRAINT delivery_state_known CHECK (
        state IN ('pending', 'claimed', 'transmitting', 'sent', 'failed', 'in_doubt', 'held', 'cancelled')),
    message_id text NOT NULL CONSTRAINT delivery_message_id_unique UNIQUE,
    message_date timestamptz NOT NULL DEFAULT now(),
    to_addresses text[] NOT NULL CONSTRAINT delivery_has_a_recipient CHECK (cardinality(to_addresses) >= 1),
    cc_addresses text[] NOT NULL DEFAULT '{}',
    language text NOT NULL,
    settings_version_id bigint NOT NULL REFERENCES invoicing.settings_version,
    template_version_id bigint NOT NULL REFERENCES invoicing.template_version,
    -- Grows with each claim; every later write of the worker that claimed carries it.
    lease_token bigint NOT NULL DEFAULT 0,
    lease_until timestamptz,
    -- The task instance that holds or held it ('dag/run/task/map index'), and that instance's execution:
    -- a person's clear starts a new one, an automatic retry does not.
    claimed_by text,
    execution text,
    attempts integer NOT NULL DEFAULT 0,
    last_reply text,
    -- A person asked for it to be sent (again), or the doubt policy did: `send_new_invoices` takes it up.
    on_request boolean NOT NULL DEFAULT false,
    -- A person settled its doubt as failed: no run takes it up again, only a person does.
    given_up boolean NOT NULL DEFAULT false,
    -- How often the doubt policy sent it again: each may have been a duplicate.
    doubt_resends integer NOT NULL DEFAULT 0,
    actor text NOT NULL,
    reason text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT delivery_lease_while_held CHECK (
        (state IN ('claimed', 'transmitting')) = (lease_until IS NOT NULL)),
    CONSTRAINT delivery_resend_has_reason CHECK (
        purpose = 'initial' OR (resend_of IS NOT NULL AND reason <> ''))
);
CREATE INDEX delivery_cycle_tenant ON invoicing.delivery (cycle_id, tenant_id);
CREATE INDEX delivery_tenant ON invoicing.delivery (tenant_id);
CREATE INDEX delivery_unsettled ON invoicing.delivery (state, lease_until)
    WHERE state NOT IN ('sent', 'cancelled');

CREATE TABLE invoicing.delivery_invoice (
    delivery_id bigint NOT NULL REFERENCES invoicing.delivery,
    invoice_id bigint NOT NULL REFERENCES invoicing.invoice,
    -- Copied from the delivery, so that the index below can hold the promise; kept true by a trigger.
    purpose text NOT NULL,
    live boolean NOT NULL DEFAULT true,
    PRIMARY KEY (delivery_id, invoice_id)
);
CREATE UNIQUE INDEX delivery_invoice_one_live_initial ON invoicing.delivery_invoice (invoice_id)
    WHERE purpose = 'initial' AND live;
CREATE INDEX delivery_invoice_invoice ON invoicing.delivery_invoice (invoice_id);

CREATE TABLE invoicing.delivery_attempt (
    delivery_id bigint NOT NULL REFERENCES invoicing.delivery,
    lease_token bigint NOT NULL,
    claimed_by text NOT NULL,
    host text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    marked_at timestamptz,
    ended_at timestamptz,
    -- Null until it is settled: an attempt whose worker died stays so, and its phase tells how far it got.
    verdict text,
    phase text NOT NULL DEFAULT 'claimed',
    code integer,
    reply text,
    payload_sha256 text,
    PRIMARY KEY (delivery_id, lease_token)
);

CREATE TABLE invoicing.delivery_event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    delivery_id bigint NOT NULL REFERENCES invoicing.delivery,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    from_state text,
    to_state text NOT NULL,
    lease_token bigint NOT NULL,
    actor text NOT NULL,
    reason text,
    reply text
);
CREATE INDEX delivery_event_delivery ON invoicing.delivery_event (delivery_id);
CREATE TRIGGER delivery_event_is_immutable BEFORE UPDATE OR DELETE ON invoicing.delivery_event
    FOR EACH ROW EXECUTE FUNCTION invoicing.refuse_change();

-- Transmissions under way and just ended, for the limit per minute that all workers share.
CREATE TABLE invoicing.transmission_slot (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    taken_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz
);

CREATE FUNCTION invoicing.guard_delivery() RETURNS trigger LANGUAGE plpgsql AS $$
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
    IF NEW.lease_token < OLD.lease_token THEN
        RAISE EXCEPTION 'delivery %: the lease token never falls', OLD.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'delivery_token_grows';
    END IF;
    -- The content freezes at the first attempt. A refused delivery that a person reopens may go to mended
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
CREATE TRIGGER delivery_is_guarded BEFORE UPDATE OR DELETE ON invoicing.delivery
    FOR EACH ROW EXECUTE FUNCTION invoicing.guard_delivery();

CREATE FUNCTION invoicing.record_delivery_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO invoicing.delivery_event (delivery_id, from_state, to_state, lease_token, actor, reason)
        VALUES (NEW.id, NULL, NEW.state, NEW.lease_token, NEW.actor, NEW.reason);
    ELSIF OLD.state <> NEW.state OR OLD.lease_token <> NEW.lease_token THEN
        INSERT INTO invoicing.delivery_event (delivery_id, from_state, to_state, lease_token, actor, reason, reply)
        VALUES (NEW.id, OLD.state, NEW.state, NEW.lease_token, NEW.actor, NEW.reason, NEW.last_reply);
        IF NEW.state = 'cancelled' THEN
            UPDATE invoicing.delivery_invoice SET live = false WHERE delivery_id = NEW.id;
        END IF;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER delivery_events AFTER INSERT OR UPDATE ON invoicing.delivery
    FOR EACH ROW EXECUTE FUNCTION invoicing.record_delivery_event();

-- The invoices of a delivery freeze with the rest of its content.
CREATE FUNCTION invoicing.guard_delivery_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    owner record;
BEGIN
    SELECT state, purpose, attempts INTO owner FROM invoicing.delivery
    WHERE id = coalesce(NEW.delivery_id, OLD.delivery_id);
    IF TG_OP = 'UPDATE' AND (NEW.delivery_id, NEW.invoice_id, NEW.purpose) = (OLD.delivery_id, OLD.invoice_id, OLD.purpose)
        AND NEW.live = (owner.state <> 'cancelled') THEN
        RETURN NEW;
    END IF;
    IF TG_OP = 'INSERT' AND owner.attempts = 0 AND NEW.purpose = owner.purpose AND NEW.live = (owner.state <> 'cancelled') THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'delivery %: its invoices are frozen', coalesce(NEW.delivery_id, OLD.delivery_id)
        USING ERRCODE = 'check_violation', CONSTRAINT = 'delivery_invoices_frozen';
END $$;
CREATE TRIGGER delivery_invoice_is_guarded BEFORE INSERT OR UPDATE OR DELETE ON invoicing.delivery_invoice
    FOR EACH ROW EXECUTE FUNCTION invoicing.guard_delivery_invoice();

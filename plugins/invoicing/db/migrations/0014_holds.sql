-- A person holds a tenant for a period, or a whole month: nothing leaves until released. What was refused can be held
-- as well.
CREATE TABLE invoicing.sending_hold (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Null: the whole month.
    tenant_id bigint REFERENCES invoicing.tenant,
    period invoicing.period NOT NULL,
    reason text NOT NULL CONSTRAINT sending_hold_has_reason CHECK (reason <> ''),
    actor text NOT NULL,
    held_at timestamptz NOT NULL DEFAULT now(),
    released_at timestamptz,
    released_by text,
    release_reason text,
    CONSTRAINT sending_hold_release_is_whole CHECK (
        (released_at IS NULL) = (released_by IS NULL) AND (released_at IS NULL) = (release_reason IS NULL))
);
COMMENT ON TABLE invoicing.sending_hold IS 'No mail to a tenant, or to anybody, for a period, by a person''s word, until it is released. A release is final.';
CREATE UNIQUE INDEX sending_hold_one_at_a_time ON invoicing.sending_hold (period, coalesce(tenant_id, 0))
    WHERE released_at IS NULL;
CREATE FUNCTION invoicing.guard_sending_hold() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.released_at IS NULL AND NEW.released_at IS NOT NULL
        AND (NEW.id, NEW.tenant_id, NEW.period, NEW.reason, NEW.actor, NEW.held_at)
            IS NOT DISTINCT FROM (OLD.id, OLD.tenant_id, OLD.period, OLD.reason, OLD.actor, OLD.held_at) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'hold % is kept as it was: it can be released, once', OLD.id
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER sending_hold_is_guarded BEFORE UPDATE OR DELETE ON invoicing.sending_hold
    FOR EACH ROW EXECUTE FUNCTION invoicing.guard_sending_hold();
CREATE TRIGGER sending_hold_is_not_emptied BEFORE TRUNCATE ON invoicing.sending_hold EXECUTE FUNCTION invoicing.refuse_change();

CREATE FUNCTION invoicing.is_held(tenant bigint, month text) RETURNS boolean STABLE LANGUAGE sql AS $$
    SELECT EXISTS (
        SELECT FROM invoicing.sending_hold AS h
        WHERE h.period = month AND (h.tenant_id = tenant OR h.tenant_id IS NULL) AND h.released_at IS NULL)
$$;
COMMENT ON FUNCTION invoicing.is_held(bigint, text) IS 'Whether a person holds the tenant, or the whole month.';

CREATE OR REPLACE FUNCTION invoicing.guard_delivery() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
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
        ('failed', 'pending'), ('failed', 'held'), ('failed', 'cancelled'),
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

-- An issued invoice is voided, where nobody was sent it, or corrected by credit notes; and a series has the range and the
-- days that the tax authority gave it.

-- What an invoice's row may say of corrections. `stands`: neither void nor credited whole; a credit note never does.
ALTER TABLE invoicing.invoice
    DROP CONSTRAINT invoice_state_known,
    DROP CONSTRAINT invoice_origin_known,
    ADD COLUMN kind text NOT NULL DEFAULT 'invoice' CONSTRAINT invoice_kind_known CHECK (kind IN ('invoice', 'credit_note')),
    ADD COLUMN corrects bigint REFERENCES invoicing.invoice,
    ADD COLUMN replaces bigint CONSTRAINT invoice_replaced_once UNIQUE REFERENCES invoicing.invoice,
    ADD COLUMN sent_apart boolean NOT NULL DEFAULT false,
    ADD COLUMN stands boolean NOT NULL GENERATED ALWAYS AS (kind = 'invoice' AND state IN ('issued', 'partly_credited')) STORED,
    ADD CONSTRAINT invoice_state_known CHECK (state IN ('issued', 'void', 'partly_credited', 'credited')),
    ADD CONSTRAINT invoice_origin_known CHECK (origin IN ('monthly', 'single', 'correction')),
    ADD CONSTRAINT invoice_credit_note_corrects CHECK (
        (kind = 'credit_note') = (corrects IS NOT NULL) AND (kind = 'credit_note') = (origin = 'correction')),
    ADD CONSTRAINT invoice_replacement_is_monthly CHECK (replaces IS NULL OR origin = 'monthly'),
    ADD CONSTRAINT invoice_apart_is_replacement CHECK (NOT sent_apart OR replaces IS NOT NULL);
COMMENT ON TABLE invoicing.invoice IS 'An issued invoice or credit note. It never changes; an invoice may be voided, or credited.';

DROP INDEX invoicing.invoice_one_standing_a_lease_and_period;
DROP INDEX invoicing.invoice_standing_of_period;
DROP INDEX invoicing.invoice_cycle_sums;
CREATE UNIQUE INDEX invoice_one_standing_a_lease_and_period ON invoicing.invoice (lease_id, period)
    WHERE origin = 'monthly' AND stands;
CREATE UNIQUE INDEX invoice_issued_by_a_run_once ON invoicing.invoice (lease_id, period)
    WHERE origin = 'monthly' AND replaces IS NULL;
COMMENT ON INDEX invoicing.invoice_issued_by_a_run_once IS 'What was voided or credited is issued again as a replacement alone.';
CREATE INDEX invoice_monthly_of_period ON invoicing.invoice (period, lease_id) WHERE origin = 'monthly';
COMMENT ON INDEX invoicing.invoice_monthly_of_period IS 'Which leases a month lacks is asked by every look at it.';
CREATE INDEX invoice_cycle_sums ON invoicing.invoice (cycle_id, currency) INCLUDE (total)
    WHERE origin = 'monthly' AND stands;
CREATE INDEX invoice_corrects ON invoicing.invoice (corrects) WHERE corrects IS NOT NULL;
CREATE INDEX invoice_apart ON invoicing.invoice (id) WHERE origin <> 'monthly' OR sent_apart;

-- An issued invoice never changes: it can be voided, once, or credited, to the amount of its credit notes. The number is
-- generated after this trigger, from columns that are compared; so is whether it stands.
CREATE OR REPLACE FUNCTION invoicing.keep_invoice() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' OR OLD.kind <> 'invoice'
        OR (OLD.state, NEW.state) NOT IN (('issued', 'void'), ('issued', 'partly_credited'), ('issued', 'credited'),
                                          ('partly_credited', 'credited'))
        OR (to_jsonb(NEW) - '{state,number,stands}'::text[]) <> (to_jsonb(OLD) - '{state,number,stands}'::text[]) THEN
        RAISE EXCEPTION 'invoice % is issued: it can only be voided, or credited', OLD.number
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.state <> 'void' AND NEW.state <> invoicing.state_by_credits(NEW.id, NEW.total) THEN
        RAISE EXCEPTION 'invoice %: its credit notes do not make it %', OLD.number, NEW.state
            USING ERRCODE = 'check_violation', CONSTRAINT = 'invoice_state_by_credits';
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION invoicing.state_by_credits(invoice bigint, total numeric) RETURNS text STABLE LANGUAGE sql AS $$
    SELECT CASE WHEN sum(c.total) IS NULL THEN 'issued' WHEN sum(c.total) < state_by_credits.total THEN 'partly_credited'
                ELSE 'credited' END
    FROM invoicing.invoice AS c WHERE c.corrects = state_by_credits.invoice
$$;
COMMENT ON FUNCTION invoicing.state_by_credits(bigint, numeric) IS 'What an invoice that was not voided is, by its credit notes.';

-- What may have left is never voided. Its deliveries are locked against claim and mark; the voided invoice leaves those that
-- are still to be sent.
CREATE FUNCTION invoicing.guard_void() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    carried bigint;
BEGIN
    PERFORM FROM invoicing.delivery AS d
    WHERE d.id IN (SELECT di.delivery_id FROM invoicing.delivery_invoice AS di WHERE di.invoice_id = OLD.id)
    ORDER BY d.id FOR UPDATE;
    SELECT d.id INTO carried FROM invoicing.delivery AS d
    WHERE d.id IN (SELECT di.delivery_id FROM invoicing.delivery_invoice AS di WHERE di.invoice_id = OLD.id)
      AND (d.state IN ('claimed', 'transmitting', 'sent', 'in_doubt') OR invoicing.may_have_left(d.id))
    ORDER BY d.id LIMIT 1;
    IF carried IS NOT NULL THEN
        RAISE EXCEPTION 'invoice % may have left with delivery %: it cannot be voided', OLD.number, carried
            USING ERRCODE = 'check_violation', CONSTRAINT = 'invoice_voided_unsent';
    END IF;
    RETURN NEW;
END $$;
CREATE FUNCTION invoicing.leave_deliveries() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE invoicing.delivery_invoice SET live = false WHERE invoice_id = NEW.id AND live;
    RETURN NULL;
END $$;
CREATE TRIGGER invoice_is_voided_unsent BEFORE UPDATE ON invoicing.invoice FOR EACH ROW
    WHEN (NEW.state = 'void' AND OLD.state <> 'void') EXECUTE FUNCTION invoicing.guard_void();
CREATE TRIGGER invoice_leaves_its_deliveries AFTER UPDATE ON invoicing.invoice FOR EACH ROW
    WHEN (NEW.state = 'void' AND OLD.state <> 'void') EXECUTE FUNCTION invoicing.leave_deliveries();

-- Credit notes of one invoice, and its voiding, take turns on its row.
CREATE FUNCTION invoicing.guard_correction() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    original invoicing.invoice;
BEGIN
    SELECT * INTO original FROM invoicing.invoice WHERE id = coalesce(NEW.corrects, NEW.replaces) FOR NO KEY UPDATE;
    IF NEW.kind = 'credit_note' AND (
        NOT original.stands OR NEW.state <> 'issued'
        OR (NEW.currency, NEW.tenant_id, NEW.period) <> (original.currency, original.tenant_id, original.period)
        OR (NEW.lease_id, NEW.cycle_id) IS DISTINCT FROM (original.lease_id, original.cycle_id)) THEN
        RAISE EXCEPTION 'invoice % does not stand, or this is no credit note of it', original.number
            USING ERRCODE = 'check_violation', CONSTRAINT = 'invoice_credit_note_of_standing';
    END IF;
    IF NEW.replaces IS NOT NULL AND (
        original.stands OR original.kind <> 'invoice' OR original.origin <> 'monthly'
        OR (NEW.lease_id, NEW.period, NEW.cycle_id) <> (original.lease_id, original.period, original.cycle_id)) THEN
        RAISE EXCEPTION 'invoice % stands, or this is no replacement of it', original.number
            USING ERRCODE = 'check_violation', CONSTRAINT = 'invoice_replaces_what_fell';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER invoice_corrects_what_it_may BEFORE INSERT ON invoicing.invoice FOR EACH ROW
    WHEN (NEW.corrects IS NOT NULL OR NEW.replaces IS NOT NULL) EXECUTE FUNCTION invoicing.guard_correction();

-- Its lines have the positions of those that they credit.
CREATE FUNCTION invoicing.check_credit_note() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    original invoicing.invoice;
BEGIN
    SELECT * INTO original FROM invoicing.invoice WHERE id = NEW.corrects;
    IF EXISTS (
        SELECT FROM invoicing.invoice_line AS c
        LEFT JOIN invoicing.invoice_line AS l ON l.invoice_id = NEW.corrects AND l.position = c.position
        WHERE c.invoice_id = NEW.id
          AND (l.position IS NULL OR c.tax_rate <> l.tax_rate OR c.amount * l.amount <= 0 OR c.tax * l.tax < 0)
    ) OR EXISTS (
        SELECT FROM invoicing.invoice AS n
        JOIN invoicing.invoice_line AS c ON c.invoice_id = n.id
        JOIN invoicing.invoice_line AS l ON l.invoice_id = n.corrects AND l.position = c.position
        WHERE n.corrects = NEW.corrects
        GROUP BY l.position, l.amount, l.tax
        HAVING abs(sum(c.amount)) > abs(l.amount) OR abs(sum(c.tax)) > abs(l.tax)
    ) THEN
        RAISE EXCEPTION 'credit note %: a line of invoice % has less left', NEW.number, original.number
            USING ERRCODE = 'check_violation', CONSTRAINT = 'credits_within_lines';
    END IF;
    IF EXISTS (
        SELECT FROM invoicing.invoice AS n
        JOIN invoicing.invoice_withholding AS c ON c.invoice_id = n.id
        LEFT JOIN invoicing.invoice_withholding AS w ON w.invoice_id = n.corrects AND w.tax = c.tax AND w.rate = c.rate
        WHERE n.corrects = NEW.corrects
        GROUP BY c.tax, w.amount
        HAVING w.amount IS NULL OR min(c.amount) < 0 OR sum(c.amount) > w.amount
    ) OR (SELECT sum(n.total) FROM invoicing.invoice AS n WHERE n.corrects = NEW.corrects) > original.total
      OR original.state <> invoicing.state_by_credits(original.id, original.total) THEN
        RAISE EXCEPTION 'credit note %: invoice % has less left, or does not know of it', NEW.number, original.number
            USING ERRCODE = 'check_violation', CONSTRAINT = 'credits_within_invoice';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER invoice_credits_within_lines AFTER INSERT ON invoicing.invoice
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.kind = 'credit_note')
    EXECUTE FUNCTION invoicing.check_credit_note();

CREATE TABLE invoicing.invoice_correction (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    invoice_id bigint NOT NULL REFERENCES invoicing.invoice,
    act text NOT NULL CONSTRAINT invoice_correction_act_known CHECK (act IN ('void', 'credit', 'replace')),
    -- The credit note, or the replacement; a void makes nothing.
    made_id bigint CONSTRAINT invoice_correction_makes_once UNIQUE REFERENCES invoicing.invoice,
    reason text NOT NULL CONSTRAINT invoice_correction_has_reason CHECK (reason <> ''),
    actor text NOT NULL CONSTRAINT invoice_correction_has_actor CHECK (actor <> ''),
    at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT invoice_correction_makes_something CHECK ((act = 'void') = (made_id IS NULL))
);
COMMENT ON TABLE invoicing.invoice_correction IS 'Who voided, credited or replaced an invoice, and why. Immutable.';
CREATE INDEX invoice_correction_invoice ON invoicing.invoice_correction (invoice_id, id);
CREATE TRIGGER invoice_correction_is_immutable BEFORE UPDATE OR DELETE ON invoicing.invoice_correction
    FOR EACH ROW EXECUTE FUNCTION invoicing.refuse_change();
CREATE TRIGGER invoice_correction_is_not_emptied BEFORE TRUNCATE ON invoicing.invoice_correction EXECUTE FUNCTION invoicing.refuse_change();

-- The invoices of a delivery freeze with the rest of its content; a voided one has left it.
CREATE OR REPLACE FUNCTION invoicing.guard_delivery_invoice() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    owner record;
    carried boolean;
BEGIN
    SELECT purpose, attempts, state = 'cancelled' AND NOT given_up AS is_withdrawn INTO owner FROM invoicing.delivery
    WHERE id = coalesce(NEW.delivery_id, OLD.delivery_id);
    SELECT NOT owner.is_withdrawn AND state <> 'void' INTO carried FROM invoicing.invoice
    WHERE id = coalesce(NEW.invoice_id, OLD.invoice_id);
    IF TG_OP = 'UPDATE' AND (NEW.delivery_id, NEW.invoice_id, NEW.purpose) = (OLD.delivery_id, OLD.invoice_id, OLD.purpose)
        AND NEW.live = carried THEN
        RETURN NEW;
    END IF;
    IF TG_OP = 'INSERT' AND owner.attempts = 0 AND NEW.purpose = owner.purpose AND NEW.live = carried THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'delivery %: its invoices are frozen', coalesce(NEW.delivery_id, OLD.delivery_id)
        USING ERRCODE = 'check_violation', CONSTRAINT = 'delivery_invoices_frozen';
END $$;

-- Nobody else writes events, nor says which deliveries of an invoice are live.
CREATE OR REPLACE FUNCTION invoicing.record_delivery_event() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
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
            WHERE di.delivery_id = NEW.id
              AND EXISTS (SELECT FROM invoicing.invoice AS i WHERE i.id = di.invoice_id AND i.state <> 'void')
              AND NOT EXISTS (
                SELECT FROM invoicing.delivery_invoice AS other
                WHERE other.invoice_id = di.invoice_id AND other.purpose = 'initial' AND other.live);
        END IF;
    END IF;
    RETURN NULL;
END $$;

-- Before a message leaves: it carries something, and nothing that is void. One that was composed before its invoice was
-- voided is stopped here.
CREATE FUNCTION invoicing.refuse_void() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (
        SELECT FROM invoicing.delivery_invoice AS di JOIN invoicing.invoice AS i ON i.id = di.invoice_id
        WHERE di.delivery_id = NEW.id AND di.live AND i.state = 'void'
    ) OR NOT EXISTS (
        SELECT FROM invoicing.delivery_invoice AS di JOIN invoicing.invoice AS i ON i.id = di.invoice_id
        WHERE di.delivery_id = NEW.id AND i.state <> 'void'
    ) THEN
        RAISE EXCEPTION 'delivery %: what it carries is void', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'delivery_of_valid_invoices';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER delivery_carries_nothing_void BEFORE UPDATE ON invoicing.delivery FOR EACH ROW
    WHEN (NEW.state = 'transmitting' AND OLD.state <> 'transmitting') EXECUTE FUNCTION invoicing.refuse_void();

-- A later credit takes nothing from what was approved, and sent.
CREATE OR REPLACE FUNCTION invoicing.delivery_fingerprint(
    delivery bigint, to_addresses text[], cc_addresses text[], language text, settings_version bigint, template_version bigint
) RETURNS text STABLE LANGUAGE sql AS $$
    SELECT encode(sha256(convert_to(jsonb_build_array(
        delivery, to_jsonb(to_addresses), to_jsonb(cc_addresses), language, settings_version, template_version,
        (SELECT coalesce(jsonb_agg(jsonb_build_array(i.number, i.total, i.currency,
                                                     CASE WHEN i.state = 'void' THEN 'void' ELSE 'issued' END, f.sha256)
                                   ORDER BY i.series, i.serial), '[]')
         FROM invoicing.delivery_invoice AS di
         JOIN invoicing.invoice AS i ON i.id = di.invoice_id
         LEFT JOIN invoicing.invoice_document AS f ON f.invoice_id = i.id
         WHERE di.delivery_id = delivery)
    )::text, 'UTF8')), 'hex')
$$;

-- What the tax authority gave a series. The newest word on a prefix counts; without one, nothing bounds it.
CREATE TABLE invoicing.series_range (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    prefix text NOT NULL,
    -- Numbers and days are inclusive; null is unbounded.
    first_serial bigint NOT NULL DEFAULT 1 CONSTRAINT series_range_counts_from_one CHECK (first_serial >= 1),
    last_serial bigint,
    valid_from date,
    valid_to date,
    -- The number of the resolution.
    resolution text NOT NULL DEFAULT '',
    actor text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT series_range_in_order CHECK (last_serial >= first_serial),
    CONSTRAINT series_range_days_in_order CHECK (valid_to >= valid_from)
);
COMMENT ON TABLE invoicing.series_range IS 'The range and the days of each series, by resolution; the newest is in force. Immutable.';
CREATE INDEX series_range_prefix ON invoicing.series_range (prefix, id);
CREATE TRIGGER series_range_is_immutable BEFORE UPDATE OR DELETE ON invoicing.series_range
    FOR EACH ROW EXECUTE FUNCTION invoicing.refuse_change();
CREATE TRIGGER series_range_is_not_emptied BEFORE TRUNCATE ON invoicing.series_range EXECUTE FUNCTION invoicing.refuse_change();

-- Numbers that were taken stay taken, and none is taken past the range.
CREATE OR REPLACE FUNCTION invoicing.keep_series() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    bound bigint;
BEGIN
    IF TG_OP = 'DELETE' OR TG_OP = 'UPDATE' AND (NEW.prefix <> OLD.prefix OR NEW.last_serial < OLD.last_serial) THEN
        RAISE EXCEPTION 'series %: the numbers up to % are taken', OLD.prefix, OLD.last_serial
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    SELECT last_serial INTO bound FROM invoicing.series_range WHERE prefix = NEW.prefix ORDER BY id DESC LIMIT 1;
    IF NEW.last_serial > bound AND (TG_OP = 'INSERT' OR NEW.last_serial > OLD.last_serial) THEN
        RAISE EXCEPTION 'series %: its range ends at %', NEW.prefix, bound
            USING ERRCODE = 'check_violation', CONSTRAINT = 'series_within_range';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER invoice_series_within_range BEFORE INSERT ON invoicing.invoice_series
    FOR EACH ROW EXECUTE FUNCTION invoicing.keep_series();

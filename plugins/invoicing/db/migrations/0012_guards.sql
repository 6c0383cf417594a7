-- The application works as a role that owns nothing (grants.sql). What it may write is guarded here, whoever writes it.

-- Guards look things up where the one who calls them cannot put anything.
ALTER FUNCTION invoicing.refuse_change() SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION invoicing.keep_invoice() SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION invoicing.guard_delivery() SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION invoicing.guard_delivery_invoice() SET search_path = pg_catalog, pg_temp;
-- Nobody else writes events, nor says which deliveries of an invoice are live.
ALTER FUNCTION invoicing.record_delivery_event() SECURITY DEFINER SET search_path = pg_catalog, pg_temp;

-- Numbers that were taken stay taken.
CREATE FUNCTION invoicing.keep_series() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' OR NEW.prefix <> OLD.prefix OR NEW.last_serial < OLD.last_serial THEN
        RAISE EXCEPTION 'series %: the numbers up to % are taken', OLD.prefix, OLD.last_serial
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER invoice_series_never_falls BEFORE UPDATE OR DELETE ON invoicing.invoice_series
    FOR EACH ROW EXECUTE FUNCTION invoicing.keep_series();

-- An invoice is sealed at the end of the transaction that issues it.
CREATE TABLE invoicing.sealed_invoice (
    invoice_id bigint PRIMARY KEY REFERENCES invoicing.invoice
);
COMMENT ON TABLE invoicing.sealed_invoice IS
    'Invoices that were committed with all that belongs to them: nothing is added. Only a trigger writes here. Immutable.';
INSERT INTO invoicing.sealed_invoice (invoice_id) SELECT id FROM invoicing.invoice;
CREATE TRIGGER sealed_invoice_is_immutable BEFORE UPDATE OR DELETE ON invoicing.sealed_invoice
    FOR EACH ROW EXECUTE FUNCTION invoicing.refuse_change();
CREATE OR REPLACE FUNCTION invoicing.check_invoice_sums() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    lines record;
    kept numeric;
BEGIN
    SELECT count(*) AS n, coalesce(sum(amount), 0) AS amount, coalesce(sum(tax), 0) AS tax INTO lines
    FROM invoicing.invoice_line WHERE invoice_id = NEW.id;
    SELECT coalesce(sum(amount), 0) INTO kept FROM invoicing.invoice_withholding WHERE invoice_id = NEW.id;
    IF lines.n = 0 OR lines.amount <> NEW.subtotal OR lines.tax <> NEW.tax OR kept <> NEW.withholding THEN
        RAISE EXCEPTION 'invoice %: subtotal %, tax %, withholding % are not the sums of its lines (%, %, %)',
            NEW.number, NEW.subtotal, NEW.tax, NEW.withholding, lines.amount, lines.tax, kept
            USING ERRCODE = 'check_violation', CONSTRAINT = 'invoice_sums_of_lines';
    END IF;
    INSERT INTO invoicing.sealed_invoice (invoice_id) VALUES (NEW.id);
    RETURN NULL;
END $$;
CREATE FUNCTION invoicing.refuse_addition() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM invoicing.sealed_invoice WHERE invoice_id = NEW.invoice_id) THEN
        RAISE EXCEPTION 'invoice with id % is issued: nothing is added to it', NEW.invoice_id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER invoice_line_comes_with_its_invoice BEFORE INSERT ON invoicing.invoice_line
    FOR EACH ROW EXECUTE FUNCTION invoicing.refuse_addition();
CREATE TRIGGER invoice_withholding_comes_with_its_invoice BEFORE INSERT ON invoicing.invoice_withholding
    FOR EACH ROW EXECUTE FUNCTION invoicing.refuse_addition();

-- A decision is superseded, once, and changes in nothing else.
CREATE FUNCTION invoicing.keep_decision() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' OR OLD.superseded_at IS NOT NULL OR NEW.superseded_at IS NULL
        OR (to_jsonb(NEW) - 'superseded_at') <> (to_jsonb(OLD) - 'superseded_at') THEN
        RAISE EXCEPTION 'decision % is kept: it can only be superseded', OLD.id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER decision_is_kept BEFORE UPDATE OR DELETE ON invoicing.decision
    FOR EACH ROW EXECUTE FUNCTION invoicing.keep_decision();

-- An attempt begins with its claim, is marked while its delivery is transmitted, and has one verdict.
ALTER TABLE invoicing.delivery_attempt ADD CONSTRAINT delivery_attempt_verdict_known CHECK (
    verdict IN ('accepted', 'refused_temporarily', 'refused_permanently', 'not_sent', 'in_doubt'));
CREATE FUNCTION invoicing.guard_delivery_attempt() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'attempt % of delivery % is kept', OLD.claim_token, OLD.delivery_id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF TG_OP = 'INSERT' THEN
        IF NEW.phase = 'claimed'
            AND num_nonnulls(NEW.marked_at, NEW.ended_at, NEW.verdict, NEW.code, NEW.reply, NEW.payload_sha256) = 0
            AND EXISTS (
                SELECT FROM invoicing.delivery
                WHERE id = NEW.delivery_id AND state = 'claimed' AND claim_token = NEW.claim_token) THEN
            RETURN NEW;
        END IF;
        RAISE EXCEPTION 'delivery %: an attempt begins with its claim', NEW.delivery_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'delivery_attempt_begins_with_its_claim';
    END IF;
    IF (NEW.delivery_id, NEW.claim_token, NEW.claimed_by, NEW.host, NEW.started_at)
        <> (OLD.delivery_id, OLD.claim_token, OLD.claimed_by, OLD.host, OLD.started_at) THEN
        RAISE EXCEPTION 'attempt % of delivery %: whose it is, is frozen', OLD.claim_token, OLD.delivery_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'delivery_attempt_frozen';
    END IF;
    IF (NEW.marked_at, NEW.payload_sha256) IS DISTINCT FROM (OLD.marked_at, OLD.payload_sha256)
        AND (OLD.marked_at IS NOT NULL OR NEW.marked_at IS NULL OR OLD.verdict IS NOT NULL OR NOT EXISTS (
            SELECT FROM invoicing.delivery
            WHERE id = NEW.delivery_id AND state = 'transmitting' AND claim_token = NEW.claim_token)) THEN
        RAISE EXCEPTION 'attempt % of delivery %: it is marked once, while it transmits', OLD.claim_token, OLD.delivery_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'delivery_attempt_marked_once';
    END IF;
    IF OLD.verdict IS NOT NULL AND (NEW.verdict, NEW.phase, NEW.code, NEW.reply)
        IS NOT DISTINCT FROM (OLD.verdict, OLD.phase, OLD.code, OLD.reply) THEN
        RETURN OLD;  -- heard before, from a journal: the first time counts
    END IF;
    -- Proof may end a doubt.
    IF OLD.verdict IS NOT NULL AND (OLD.verdict, NEW.verdict) IS DISTINCT FROM ('in_doubt', 'accepted') THEN
        RAISE EXCEPTION 'attempt % of delivery % has its verdict: %', OLD.claim_token, OLD.delivery_id, OLD.verdict
            USING ERRCODE = 'check_violation', CONSTRAINT = 'delivery_attempt_one_verdict';
    END IF;
    IF NEW.verdict IN ('accepted', 'in_doubt') AND NEW.marked_at IS NULL THEN
        RAISE EXCEPTION 'attempt % of delivery % was not marked: nothing has left', OLD.claim_token, OLD.delivery_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'delivery_attempt_marked_first';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER delivery_attempt_is_guarded BEFORE INSERT OR UPDATE OR DELETE ON invoicing.delivery_attempt
    FOR EACH ROW EXECUTE FUNCTION invoicing.guard_delivery_attempt();

-- What happened is not emptied either.
CREATE TRIGGER settings_version_is_not_emptied BEFORE TRUNCATE ON invoicing.settings_version EXECUTE FUNCTION invoicing.refuse_change();
CREATE TRIGGER template_version_is_not_emptied BEFORE TRUNCATE ON invoicing.template_version EXECUTE FUNCTION invoicing.refuse_change();
CREATE TRIGGER audit_event_is_not_emptied BEFORE TRUNCATE ON invoicing.audit_event EXECUTE FUNCTION invoicing.refuse_change();
CREATE TRIGGER billing_cycle_is_not_emptied BEFORE TRUNCATE ON invoicing.billing_cycle EXECUTE FUNCTION invoicing.refuse_change();
CREATE TRIGGER cycle_run_is_not_emptied BEFORE TRUNCATE ON invoicing.cycle_run EXECUTE FUNCTION invoicing.refuse_change();
CREATE TRIGGER invoice_series_is_not_emptied BEFORE TRUNCATE ON invoicing.invoice_series EXECUTE FUNCTION invoicing.refuse_change();
CREATE TRIGGER invoice_is_not_emptied BEFORE TRUNCATE ON invoicing.invoice EXECUTE FUNCTION invoicing.refuse_change();
CREATE TRIGGER invoice_line_is_not_emptied BEFORE TRUNCATE ON invoicing.invoice_line EXECUTE FUNCTION invoicing.refuse_change();
CREATE TRIGGER invoice_withholding_is_not_emptied BEFORE TRUNCATE ON invoicing.invoice_withholding EXECUTE FUNCTION invoicing.refuse_change();
CREATE TRIGGER sealed_invoice_is_not_emptied BEFORE TRUNCATE ON invoicing.sealed_invoice EXECUTE FUNCTION invoicing.refuse_change();
CREATE TRIGGER invoice_document_is_not_emptied BEFORE TRUNCATE ON invoicing.invoice_document EXECUTE FUNCTION invoicing.refuse_change();
CREATE TRIGGER decision_is_not_emptied BEFORE TRUNCATE ON invoicing.decision EXECUTE FUNCTION invoicing.refuse_change();
CREATE TRIGGER delivery_is_not_emptied BEFORE TRUNCATE ON invoicing.delivery EXECUTE FUNCTION invoicing.refuse_change();
CREATE TRIGGER delivery_invoice_is_not_emptied BEFORE TRUNCATE ON invoicing.delivery_invoice EXECUTE FUNCTION invoicing.refuse_change();
CREATE TRIGGER delivery_attempt_is_not_emptied BEFORE TRUNCATE ON invoicing.delivery_attempt EXECUTE FUNCTION invoicing.refuse_change();
CREATE TRIGGER delivery_event_is_not_emptied BEFORE TRUNCATE ON invoicing.delivery_event EXECUTE FUNCTION invoicing.refuse_change();

-- Two things that only an owner may do, and no more of them than the application needs: the privilege MAINTAIN would
-- let it cluster, reindex and lock everything.
CREATE FUNCTION invoicing.analyze_month(stage text) RETURNS void LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- A table that another transaction is analyzing is left out: a simulation's is held until it is undone.
    CASE stage
        WHEN 'generated' THEN ANALYZE (SKIP_LOCKED) invoicing.invoice, invoicing.invoice_line;
        WHEN 'counted' THEN ANALYZE (SKIP_LOCKED) invoicing.invoice_count;
        WHEN 'decided' THEN ANALYZE (SKIP_LOCKED) invoicing.decision, invoicing.delivery, invoicing.delivery_invoice;
    END CASE;
END $$;
COMMENT ON FUNCTION invoicing.analyze_month(text) IS 'Fresh statistics of the tables to which a stage of a month adds many rows.';
CREATE FUNCTION invoicing.hold_tenants() RETURNS void LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    LOCK TABLE invoicing.tenant IN SHARE ROW EXCLUSIVE MODE;
END $$;
COMMENT ON FUNCTION invoicing.hold_tenants() IS 'Nobody else changes a tenant until the caller''s transaction ends.';

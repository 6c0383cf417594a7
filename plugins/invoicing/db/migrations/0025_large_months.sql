-- What a month of 100,000 leases asks of the database: guards and hashes that work on all rows of a statement at once.

-- OFFSET 0: without it a row's text was made three times.
CREATE OR REPLACE FUNCTION invoicing.keep_history() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
BEGIN
    INSERT INTO invoicing.history_entry (source, key, sha256)
    SELECT TG_TABLE_NAME, (line ->> TG_ARGV[0]) || coalesce('/' || (line ->> TG_ARGV[1]), ''),
           sha256(convert_to(line::text, 'UTF8'))
    FROM (SELECT to_jsonb(w) AS line FROM written AS w OFFSET 0) AS lines;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION invoicing.refuse_addition() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    sealed bigint;
BEGIN
    SELECT w.invoice_id INTO sealed FROM written AS w JOIN invoicing.sealed_invoice AS s ON s.invoice_id = w.invoice_id
    LIMIT 1;
    IF sealed IS NOT NULL THEN
        RAISE EXCEPTION 'invoice with id % is issued: nothing is added to it', sealed
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
DROP TRIGGER invoice_line_comes_with_its_invoice ON invoicing.invoice_line;
CREATE TRIGGER invoice_line_comes_with_its_invoice AFTER INSERT ON invoicing.invoice_line REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION invoicing.refuse_addition();
DROP TRIGGER invoice_withholding_comes_with_its_invoice ON invoicing.invoice_withholding;
CREATE TRIGGER invoice_withholding_comes_with_its_invoice AFTER INSERT ON invoicing.invoice_withholding REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION invoicing.refuse_addition();
DROP TRIGGER invoice_basis_comes_with_its_invoice ON invoicing.invoice_basis;
CREATE TRIGGER invoice_basis_comes_with_its_invoice AFTER INSERT ON invoicing.invoice_basis REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION invoicing.refuse_addition();

-- The event of each delivery that is made; its changes are recorded one by one.
CREATE FUNCTION invoicing.record_new_deliveries() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO invoicing.delivery_event (delivery_id, from_state, to_state, claim_token, actor, reason)
    SELECT id, NULL, state, claim_token, actor, reason FROM written ORDER BY id;
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION invoicing.record_delivery_event() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF OLD.state <> NEW.state OR OLD.claim_token <> NEW.claim_token THEN
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
DROP TRIGGER delivery_events ON invoicing.delivery;
CREATE TRIGGER delivery_events AFTER UPDATE ON invoicing.delivery
    FOR EACH ROW EXECUTE FUNCTION invoicing.record_delivery_event();
CREATE TRIGGER delivery_events_begin AFTER INSERT ON invoicing.delivery REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION invoicing.record_new_deliveries();

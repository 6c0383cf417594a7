-- What is sent again goes with the words of then unless a person asks for today's: a new execution changes its addresses,
-- not its words.
ALTER TABLE invoicing.delivery
    ADD COLUMN keeps_words boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT delivery_keeps_words_of_another CHECK (NOT keeps_words OR resend_of IS NOT NULL);

-- Of a test message the address, and the relay's words, which quote it, may be taken out after a while: by the owner alone,
-- for the application has no leave to write the address.
CREATE OR REPLACE FUNCTION invoicing.keep_trial_message() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.to_address = '' AND NEW.reply IS NULL
        AND OLD.asked_at < now() - interval '1 month'
        AND (to_jsonb(NEW) - '{to_address,reply}'::text[]) = (to_jsonb(OLD) - '{to_address,reply}'::text[]) THEN
        RETURN NEW;
    END IF;
    IF TG_OP = 'DELETE' OR OLD.outcome IS NOT NULL OR NEW.outcome IS NULL
        OR (to_jsonb(NEW) - '{outcome,code,reply,ended_at}'::text[])
            <> (to_jsonb(OLD) - '{outcome,code,reply,ended_at}'::text[]) THEN
        RAISE EXCEPTION 'test message % is kept: it gets its outcome, once', OLD.id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;

-- A test message is written down before the relay is asked, and what became of it after.

CREATE TABLE invoicing.trial_message (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- As the auth manager knows the person: the limit per hour counts by it.
    user_id text NOT NULL,
    actor text NOT NULL,
    to_address text NOT NULL,
    -- The version that the text was typed over, and the SHA-256 of the text as it was sent.
    template_version_id bigint NOT NULL REFERENCES invoicing.template_version,
    parts_sha256 text NOT NULL CONSTRAINT trial_message_parts_hashed CHECK (parts_sha256 ~ '^[0-9a-f]{64}$'),
    message_id text NOT NULL CONSTRAINT trial_message_id_unique UNIQUE,
    asked_at timestamptz NOT NULL DEFAULT now(),
    -- NULL: nobody learnt it. Shown as unknown.
    outcome text CONSTRAINT trial_message_outcome_known
        CHECK (outcome IN ('accepted', 'refused', 'not_sent', 'unknown')),
    code integer,
    reply text,
    ended_at timestamptz,
    CONSTRAINT trial_message_ends_with_an_outcome CHECK ((outcome IS NULL) = (ended_at IS NULL))
);
COMMENT ON TABLE invoicing.trial_message IS
    'Test messages of a template: written down before they leave, their outcome once after. Kept for good.';
CREATE INDEX trial_message_of_user ON invoicing.trial_message (user_id, asked_at);
CREATE INDEX trial_message_of_template ON invoicing.trial_message (template_version_id, id);

CREATE FUNCTION invoicing.keep_trial_message() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' OR OLD.outcome IS NOT NULL OR NEW.outcome IS NULL
        OR (to_jsonb(NEW) - '{outcome,code,reply,ended_at}'::text[])
            <> (to_jsonb(OLD) - '{outcome,code,reply,ended_at}'::text[]) THEN
        RAISE EXCEPTION 'test message % is kept: it gets its outcome, once', OLD.id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER trial_message_is_kept BEFORE UPDATE OR DELETE ON invoicing.trial_message
    FOR EACH ROW EXECUTE FUNCTION invoicing.keep_trial_message();
CREATE TRIGGER trial_message_is_not_emptied BEFORE TRUNCATE ON invoicing.trial_message
    FOR EACH STATEMENT EXECUTE FUNCTION invoicing.refuse_change();

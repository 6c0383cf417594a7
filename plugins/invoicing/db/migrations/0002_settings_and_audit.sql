-- Settings and templates are versions that never change; what a person did is kept with who and when.

CREATE TABLE invoicing.settings_version (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    settings jsonb NOT NULL,
    actor text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE invoicing.template_version (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL CONSTRAINT template_version_name_plain CHECK (name ~ '^[a-z0-9][a-z0-9_-]{0,39}$'),
    version integer NOT NULL CONSTRAINT template_version_counts_from_one CHECK (version >= 1),
    -- Part name ('mail.html', 'mail.txt', 'invoice.html', 'invoice.css') to its text.
    parts jsonb NOT NULL,
    actor text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT template_version_unique UNIQUE (name, version)
);

CREATE TABLE invoicing.audit_event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    actor text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    details jsonb NOT NULL DEFAULT '{}'
);

CREATE FUNCTION invoicing.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%.% keeps what happened: its rows are never changed or deleted', TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE TRIGGER settings_version_is_immutable BEFORE UPDATE OR DELETE ON invoicing.settings_version
    FOR EACH ROW EXECUTE FUNCTION invoicing.refuse_change();
CREATE TRIGGER template_version_is_immutable BEFORE UPDATE OR DELETE ON invoicing.template_version
    FOR EACH ROW EXECUTE FUNCTION invoicing.refuse_change();
CREATE TRIGGER audit_event_is_immutable BEFORE UPDATE OR DELETE ON invoicing.audit_event
    FOR EACH ROW EXECUTE FUNCTION invoicing.refuse_change();

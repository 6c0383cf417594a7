-- What is changed most in a template has fields of its own beside the code. Versions kept so far have none and print as
-- they did: their code names no field.
ALTER TABLE invoicing.template_version ADD COLUMN fields jsonb NOT NULL DEFAULT '{}'
    CONSTRAINT template_version_fields_have_names CHECK (jsonb_typeof(fields) = 'object');

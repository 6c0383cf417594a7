-- What the pages look up: tenants by any word of theirs, what was done to one, which runs used a version of the settings.

CREATE INDEX audit_event_subject ON invoicing.audit_event (subject, id);
CREATE INDEX cycle_run_settings_version ON invoicing.cycle_run (settings_version_id);
CREATE INDEX decision_tenant ON invoicing.decision (tenant_id);

CREATE FUNCTION invoicing.plain(value text) RETURNS text IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql AS $$
    SELECT translate(lower(value), 'áéíóúüñàèìòùâêîôûäëïöãõç', 'aeiouunaeiouaeiouaeioaoc')
$$;
-- array_to_string alone is not immutable: of other types than text the outcome may depend on settings.
CREATE FUNCTION invoicing.joined(words text[]) RETURNS text IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql AS $$
    SELECT array_to_string(words, ' ')
$$;
-- Not every such address is invalid: `domain.address` decides. Without this it would have to look at all of them.
CREATE FUNCTION invoicing.has_doubtful_address(addresses text[]) RETURNS boolean IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql AS $$
    SELECT coalesce(bool_or(
        address COLLATE "C" !~ '^[A-Za-z0-9]+([._+-][A-Za-z0-9]+)*@([A-Za-z0-9]+(-[A-Za-z0-9]+)*\.)+[A-Za-z]{2,12}$'
        OR address ~* '[.@](arpa|invalid|local|localhost|onion)$'
        -- Limits of a label, of a local part, and of the whole.
        OR length(address) > 60 AND address ~ '[^@.]{60}|^[^@]{60}|^.{240}'
    ), false) FROM unnest(addresses) AS address
$$;

-- Kept with the row: worked out anew for each search they would cost a quarter of a second for 10,000 tenants.
ALTER TABLE invoicing.tenant
    ADD COLUMN plain_name text GENERATED ALWAYS AS (invoicing.plain(name)) STORED,
    ADD COLUMN words text GENERATED ALWAYS AS (
        invoicing.plain(code || ' ' || name || ' ' || document_number || ' ' || replace(document_number, '.', '')
            || ' ' || invoicing.joined(emails || cc_emails))) STORED,
    ADD COLUMN doubtful_address boolean GENERATED ALWAYS AS (
        invoicing.has_doubtful_address(emails || cc_emails)) STORED;
CREATE INDEX tenant_doubtful_address ON invoicing.tenant (id) WHERE doubtful_address;

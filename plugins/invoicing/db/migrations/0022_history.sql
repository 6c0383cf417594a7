-- History that cannot be rewritten quietly. Each row that counts is hashed as it is written, the hashes are chained; and
-- each invoice keeps what its amounts were worked out from.

-- What the amounts of an invoice come from, as it was on the day of issue: an import changes leases, charges and rates.
CREATE TABLE invoicing.invoice_basis (
    invoice_id bigint PRIMARY KEY REFERENCES invoicing.invoice,
    -- Of a monthly invoice: `tenant`, `lease`, `charges`. Of a single one: `items`. Of both: `rates`.
    basis jsonb NOT NULL
);
COMMENT ON TABLE invoicing.invoice_basis IS
    'Lease, charges and tax rates as an invoice was worked out from them; none of credit notes, nor before this was kept. Immutable.';
CREATE TRIGGER invoice_basis_is_immutable BEFORE UPDATE OR DELETE ON invoicing.invoice_basis
    FOR EACH ROW EXECUTE FUNCTION invoicing.refuse_change();
CREATE TRIGGER invoice_basis_comes_with_its_invoice BEFORE INSERT ON invoicing.invoice_basis
    FOR EACH ROW EXECUTE FUNCTION invoicing.refuse_addition();
CREATE TRIGGER invoice_basis_is_not_emptied BEFORE TRUNCATE ON invoicing.invoice_basis EXECUTE FUNCTION invoicing.refuse_change();

-- The hash of each row, each time it is written. A row's text is its jsonb, in UTC.
CREATE TABLE invoicing.history_entry (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source text NOT NULL,
    -- The row's key; parts divided by a slash.
    key text NOT NULL,
    sha256 bytea NOT NULL,
    -- The login that wrote the row, whatever role it took.
    writer text NOT NULL DEFAULT session_user
);
COMMENT ON TABLE invoicing.history_entry IS 'The SHA-256 of every row that counts, each time it was written: by a trigger, in the same transaction. Immutable.';
CREATE INDEX history_entry_row ON invoicing.history_entry (source, key);

-- Of which columns a row's text was made: a table may get more of them later.
CREATE TABLE invoicing.history_shape (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source text NOT NULL,
    -- Entries from this one on.
    first_entry bigint NOT NULL,
    columns text[] NOT NULL
);
COMMENT ON TABLE invoicing.history_shape IS 'The columns that a table''s hashes are over, from an entry on; noted by each migration. Immutable.';

-- The chain is made afterwards: writers wait for nobody.
CREATE TABLE invoicing.history_link (
    entry_id bigint PRIMARY KEY,
    sha256 bytea NOT NULL
);
COMMENT ON TABLE invoicing.history_link IS 'The chain over `history_entry`, in the order of ids: each the SHA-256 of the one before and the entry. Immutable.';

CREATE TABLE invoicing.history_seal (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    entry_id bigint NOT NULL,
    entries bigint NOT NULL,
    head text NOT NULL,
    sealed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE invoicing.history_seal IS 'How far the chain went when, and its head. Immutable.';
CREATE INDEX history_seal_entry ON invoicing.history_seal (entry_id);

CREATE TABLE invoicing.history_horizon (
    singleton boolean PRIMARY KEY DEFAULT true CONSTRAINT history_horizon_is_one_row CHECK (singleton),
    entry_id bigint NOT NULL
);
COMMENT ON TABLE invoicing.history_horizon IS 'Up to here no transaction may still add an entry: what a seal may chain.';
CREATE TRIGGER history_horizon_is_not_emptied BEFORE TRUNCATE ON invoicing.history_horizon EXECUTE FUNCTION invoicing.refuse_change();

DO $$
DECLARE
    kept text;
BEGIN
    FOREACH kept IN ARRAY ARRAY['history_entry', 'history_shape', 'history_link', 'history_seal'] LOOP
        EXECUTE format('CREATE TRIGGER %1$s_is_immutable BEFORE UPDATE OR DELETE ON invoicing.%1$s'
            ' FOR EACH ROW EXECUTE FUNCTION invoicing.refuse_change()', kept);
        EXECUTE format('CREATE TRIGGER %1$s_is_not_emptied BEFORE TRUNCATE ON invoicing.%1$s'
            ' EXECUTE FUNCTION invoicing.refuse_change()', kept);
    END LOOP;
END $$;

-- Its arguments are the columns of the key.
CREATE FUNCTION invoicing.keep_history() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
BEGIN
    INSERT INTO invoicing.history_entry (source, key, sha256)
    SELECT TG_TABLE_NAME, (line ->> TG_ARGV[0]) || coalesce('/' || (line ->> TG_ARGV[1]), ''),
           sha256(convert_to(line::text, 'UTF8'))
    FROM (SELECT to_jsonb(w) AS line FROM written AS w) AS lines;
    RETURN NULL;
END $$;

DO $$
DECLARE
    tracked record;
BEGIN
    FOR tracked IN
        SELECT * FROM (VALUES
            ('tenant', 'id', NULL), ('lease', 'id', NULL), ('settings_version', 'id', NULL), ('template_version', 'id', NULL),
            ('audit_event', 'id', NULL), ('billing_cycle', 'id', NULL), ('cycle_run', 'id', NULL), ('series_range', 'id', NULL),
            ('invoice', 'id', NULL), ('invoice_line', 'invoice_id', 'position'),
            ('invoice_withholding', 'invoice_id', 'tax'), ('invoice_basis', 'invoice_id', NULL),
            ('invoice_document', 'invoice_id', NULL), ('invoice_correction', 'id', NULL), ('decision', 'id', NULL),
            ('sending_hold', 'id', NULL), ('delivery', 'id', NULL), ('delivery_invoice', 'delivery_id', 'invoice_id'),
            ('delivery_attempt', 'delivery_id', 'claim_token'), ('delivery_event', 'id', NULL),
            ('approval_request', 'id', NULL), ('approval_item', 'request_id', 'delivery_id'), ('approval_answer', 'id', NULL)
        ) AS t (name, key, key_too)
    LOOP
        EXECUTE format('CREATE TRIGGER %1$s_history_added AFTER INSERT ON invoicing.%1$s REFERENCING NEW TABLE AS written'
            ' FOR EACH STATEMENT EXECUTE FUNCTION invoicing.keep_history(%2$s)', tracked.name,
            concat_ws(', ', quote_literal(tracked.key), quote_literal(tracked.key_too)));
        EXECUTE format('CREATE TRIGGER %1$s_history_changed AFTER UPDATE ON invoicing.%1$s REFERENCING NEW TABLE AS written'
            ' FOR EACH STATEMENT EXECUTE FUNCTION invoicing.keep_history(%2$s)', tracked.name,
            concat_ws(', ', quote_literal(tracked.key), quote_literal(tracked.key_too)));
    END LOOP;
END $$;

CREATE FUNCTION invoicing.note_history_shapes() RETURNS void LANGUAGE sql AS $$
    INSERT INTO invoicing.history_shape (source, first_entry, columns)
    SELECT now.source, (SELECT last_value + is_called::integer FROM invoicing.history_entry_id_seq), now.columns
    FROM (
        SELECT c.relname AS source, array_agg(a.attname::text ORDER BY a.attname) AS columns
        FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE t.tgname = c.relname || '_history_added' AND c.relnamespace = 'invoicing'::regnamespace
        GROUP BY c.relname
    ) AS now
    WHERE now.columns IS DISTINCT FROM (
        SELECT s.columns FROM invoicing.history_shape AS s WHERE s.source = now.source ORDER BY s.id DESC LIMIT 1)
$$;
COMMENT ON FUNCTION invoicing.note_history_shapes() IS
    'Note the columns of each table whose rows are hashed, where they changed. Called at the end of each migration.';
SELECT invoicing.note_history_shapes();

-- One link: the link before, the entry's id, table and key, the row's hash, and the login that wrote it, by single spaces.
CREATE FUNCTION invoicing.next_link(link text, first text, entry text) RETURNS text IMMUTABLE LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN encode(sha256(convert_to(coalesce(link, first) || ' ' || entry, 'UTF8')), 'hex');
END $$;
CREATE AGGREGATE invoicing.chain(first text, entry text) (sfunc = invoicing.next_link, stype = text);

-- Whoever is adding entries has the table locked until their transaction ends: with this lock nobody is. It is waited for
-- briefly, since others wait behind it, and is let go at once.
CREATE FUNCTION invoicing.note_history_horizon() RETURNS bigint LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '150ms' AS $$
DECLARE
    bound bigint;
BEGIN
    LOCK TABLE invoicing.history_entry IN SHARE MODE;
    SELECT coalesce(max(id), 0) INTO bound FROM invoicing.history_entry;
    INSERT INTO invoicing.history_horizon AS h (entry_id) VALUES (bound)
    ON CONFLICT (singleton) DO UPDATE SET entry_id = greatest(h.entry_id, bound);
    RETURN bound;
END $$;
COMMENT ON FUNCTION invoicing.note_history_horizon() IS
    'How far entries are complete: to be called in a transaction of its own. Fails where somebody writes for long.';

CREATE FUNCTION invoicing.seal_history(most integer) RETURNS bigint LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    last_entry bigint;
    last_link text;
    sealed bigint;
BEGIN
    -- One seal at a time.
    PERFORM pg_advisory_xact_lock(hashtext('invoicing.history'));
    SELECT entry_id, encode(sha256, 'hex') INTO last_entry, last_link
    FROM invoicing.history_link ORDER BY entry_id DESC LIMIT 1;
    INSERT INTO invoicing.history_link (entry_id, sha256)
    SELECT id, decode(invoicing.chain(coalesce(last_link, repeat('0', 64)), entry) OVER (ORDER BY id), 'hex')
    FROM (
        SELECT id, concat_ws(' ', id, source, key, encode(sha256, 'hex'), writer) AS entry FROM invoicing.history_entry
        WHERE id > coalesce(last_entry, 0) AND id <= (SELECT entry_id FROM invoicing.history_horizon)
        ORDER BY id LIMIT most
    ) AS next;
    GET DIAGNOSTICS sealed = ROW_COUNT;
    IF sealed > 0 THEN
        INSERT INTO invoicing.history_seal (entry_id, entries, head)
        SELECT entry_id, sealed, encode(sha256, 'hex') FROM invoicing.history_link ORDER BY entry_id DESC LIMIT 1;
    END IF;
    RETURN sealed;
END $$;
COMMENT ON FUNCTION invoicing.seal_history(integer) IS
    'Chain so many of the entries up to the horizon that are not; how many were chained.';

-- What there was before anything was hashed.
DO $$
DECLARE
    tracked record;
BEGIN
    SET LOCAL timezone = 'UTC';
    FOR tracked IN
        SELECT c.relname AS name, string_to_array(encode(t.tgargs, 'escape'), '\000') AS keys
        FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
        WHERE t.tgname = c.relname || '_history_added' AND c.relnamespace = 'invoicing'::regnamespace ORDER BY c.relname
    LOOP
        EXECUTE format('INSERT INTO invoicing.history_entry (source, key, sha256)'
            ' SELECT %2$L, (line ->> %3$L) || coalesce(''/'' || (line ->> %4$L), ''''), sha256(convert_to(line::text, ''UTF8''))'
            ' FROM (SELECT to_jsonb(w) AS line FROM invoicing.%1$I AS w) AS lines ORDER BY 2',
            tracked.name, tracked.name, tracked.keys[1], nullif(tracked.keys[2], ''));
    END LOOP;
END $$;

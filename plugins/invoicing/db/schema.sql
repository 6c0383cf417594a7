-- The whole schema on one page, to read. What is applied are the migrations; a test holds this page equal to them.
-- Money is numeric, instants are timestamptz, days are date. Each table's comment says what it is.

CREATE SCHEMA IF NOT EXISTS invoicing;
CREATE EXTENSION IF NOT EXISTS btree_gist;
CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA public;

-- Words for the search: lower case, without accents.
CREATE FUNCTION invoicing.plain(value text) RETURNS text IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql AS $$
    SELECT translate(lower(value), 'áéíóúüñàèìòùâêîôûäëïöãõç', 'aeiouunaeiouaeiouaeioaoc')
$$;
-- array_to_string alone is not immutable: of other types than text the outcome may depend on settings.
CREATE FUNCTION invoicing.joined(words text[]) RETURNS text IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql AS $$
    SELECT array_to_string(words, ' ')
$$;

CREATE FUNCTION invoicing.has_words(words text, patterns text[]) RETURNS boolean
    IMMUTABLE PARALLEL SAFE LANGUAGE sql AS $$
    -- The first two by themselves: an index of trigrams knows no LIKE ALL.
    SELECT words LIKE coalesce(patterns[1], '%') AND words LIKE coalesce(patterns[2], '%') AND words LIKE ALL (patterns)
$$;
COMMENT ON FUNCTION invoicing.has_words(text, text[]) IS
    'Whether a tenant''s words fit all patterns of a search. Written out where it is called, so that an index serves it.';

-- Not every such address is invalid: `domain.address` decides. Without this it would have to look at all of them.
CREATE FUNCTION invoicing.has_doubtful_address(addresses text[]) RETURNS boolean IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql AS $$
    SELECT coalesce(bool_or(
        address COLLATE "C" !~ '^[A-Za-z0-9]+([._+-][A-Za-z0-9]+)*@([A-Za-z0-9]+(-[A-Za-z0-9]+)*\.)+[A-Za-z]{2,12}$'
        OR address ~* '[.@](arpa|invalid|local|localhost|onion)$'
        -- Limits of a label, of a local part, and of the whole.
        OR length(address) > 60 AND address ~ '[^@.]{60}|^[^@]{60}|^.{240}'
    ), false) FROM unnest(addresses) AS address
$$;

-- What happened is kept. This guard and all below look things up where the one who calls them cannot put anything.
CREATE FUNCTION invoicing.refuse_change() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '%.% keeps what happened: its rows are never changed or deleted', TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE DOMAIN invoicing.period AS text
    CONSTRAINT period_is_a_month CHECK (VALUE ~ '^2[01][0-9]{2}-(0[1-9]|1[0-2])$');

-- Who is billed, for what, and at which rates.

CREATE TABLE invoicing.tenant (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code text NOT NULL CONSTRAINT tenant_code_unique UNIQUE,
    document_type text NOT NULL,
    document_number text NOT NULL,
    name text NOT NULL CONSTRAINT tenant_name_given CHECK (name <> ''),
    emails text[] NOT NULL DEFAULT '{}',
    cc_emails text[] NOT NULL DEFAULT '{}',
    language text NOT NULL DEFAULT 'es' CONSTRAINT tenant_language_known CHECK (language IN ('es', 'en')),
    city text NOT NULL DEFAULT '',
    withholding_agent boolean NOT NULL DEFAULT false,
    auto_send boolean NOT NULL DEFAULT false,
    only_multiple boolean NOT NULL DEFAULT false,
    updated_at timestamptz NOT NULL DEFAULT now(),
    -- Kept with the row: worked out anew for each search they would cost a quarter of a second for 10,000 tenants.
    plain_name text GENERATED ALWAYS AS (invoicing.plain(name)) STORED,
    words text GENERATED ALWAYS AS (
        invoicing.plain(code || ' ' || name || ' ' || document_number || ' ' || replace(document_number, '.', '')
            || ' ' || invoicing.joined(emails || cc_emails))) STORED,
    doubtful_address boolean GENERATED ALWAYS AS (
        invoicing.has_doubtful_address(emails || cc_emails)) STORED
);
COMMENT ON TABLE invoicing.tenant IS 'Who is billed, with the two switches of the automatic sending.';
CREATE INDEX tenant_doubtful_address ON invoicing.tenant (id) WHERE doubtful_address;
-- A page of the list is the walk of one of these, however many tenants there are; what a page counts, they have.
CREATE INDEX tenant_by_name ON invoicing.tenant (plain_name, code);
CREATE INDEX tenant_by_update ON invoicing.tenant (updated_at, code);
CREATE INDEX tenant_switches ON invoicing.tenant (auto_send, only_multiple);
CREATE INDEX tenant_without_address ON invoicing.tenant (code) WHERE emails = '{}';
CREATE INDEX tenant_words ON invoicing.tenant USING gin (words gin_trgm_ops);

CREATE TABLE invoicing.lease (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code text NOT NULL CONSTRAINT lease_code_unique UNIQUE,
    tenant_id bigint NOT NULL REFERENCES invoicing.tenant,
    property text NOT NULL,
    city text NOT NULL DEFAULT '',
    use text NOT NULL CONSTRAINT lease_use_known CHECK (use IN ('residential', 'commercial')),
    start_date date NOT NULL,
    end_date date,
    rent numeric NOT NULL CONSTRAINT lease_rent_not_negative CHECK (rent >= 0),
    currency text NOT NULL CONSTRAINT lease_currency_is_iso CHECK (currency ~ '^[A-Z]{3}$'),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT lease_ends_after_start CHECK (end_date IS NULL OR end_date >= start_date)
);
COMMENT ON TABLE invoicing.lease IS 'A tenant''s contract: property, dates, rent. Nothing else is called a lease.';
CREATE INDEX lease_tenant ON invoicing.lease (tenant_id);

CREATE TABLE invoicing.charge (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    lease_id bigint NOT NULL REFERENCES invoicing.lease,
    concept text NOT NULL,
    description text NOT NULL,
    amount numeric NOT NULL,
    tax text NOT NULL CONSTRAINT charge_tax_known CHECK (tax IN ('iva', 'none')),
    prorated boolean NOT NULL,
    from_period invoicing.period,
    to_period invoicing.period,
    CONSTRAINT charge_periods_in_order CHECK (from_period <= to_period)
);
COMMENT ON TABLE invoicing.charge IS 'What is billed beside the rent of a lease: a file''s rows, replaced by each import.';
CREATE INDEX charge_lease ON invoicing.charge (lease_id);

CREATE TABLE invoicing.tax_rate (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tax text NOT NULL CONSTRAINT tax_rate_tax_known CHECK (tax IN ('iva', 'retefuente', 'reteiva', 'reteica')),
    city text NOT NULL DEFAULT '',
    rate numeric NOT NULL CONSTRAINT tax_rate_is_a_fraction CHECK (rate >= 0 AND rate < 1),
    minimum_base numeric NOT NULL DEFAULT 0 CONSTRAINT tax_rate_minimum_not_negative CHECK (minimum_base >= 0),
    valid_from date NOT NULL,
    valid_to date,
    CONSTRAINT tax_rate_days_in_order CHECK (valid_to IS NULL OR valid_to >= valid_from),
    -- Two rates of one tax in force on the same day would leave the amount to chance.
    CONSTRAINT tax_rate_one_a_day EXCLUDE USING gist (
        (tax || '/' || city) WITH =,
        daterange(valid_from, valid_to, '[]') WITH &&
    )
);
COMMENT ON TABLE invoicing.tax_rate IS 'Rates of IVA and of the withholdings, with the days they are in force.';

-- By which rules, and who changed them.

CREATE TABLE invoicing.settings_version (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    settings jsonb NOT NULL,
    actor text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE invoicing.settings_version IS 'Every version of the settings; the newest is in force. Immutable.';
CREATE TRIGGER settings_version_is_immutable BEFORE UPDATE OR DELETE ON invoicing.settings_version
    FOR EACH ROW EXECUTE FUNCTION invoicing.refuse_change();

CREATE VIEW invoicing.settings_in_force AS
    SELECT id, coalesce((settings ->> 'auto_send')::boolean, false) AS auto_send,
           coalesce((settings ->> 'per_minute_limit')::integer, 0) AS per_minute_limit
    FROM invoicing.settings_version ORDER BY id DESC LIMIT 1;
COMMENT ON VIEW invoicing.settings_in_force IS 'The newest settings, as far as SQL asks them.';

CREATE TABLE invoicing.template_version (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL CONSTRAINT template_version_name_plain CHECK (name ~ '^[a-z0-9][a-z0-9_-]{0,39}$'),
    version integer NOT NULL CONSTRAINT template_version_counts_from_one CHECK (version >= 1),
    -- Part name ('mail.html', 'mail.txt', 'invoice.html', 'invoice.css') to its text.
    parts jsonb NOT NULL,
    actor text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- Sentences in both languages, the colour, the logo: what the parts name as texts and look. Empty for a version of
    -- before there were fields, whose parts name none.
    fields jsonb NOT NULL DEFAULT '{}' CONSTRAINT template_version_fields_have_names CHECK (jsonb_typeof(fields) = 'object'),
    CONSTRAINT template_version_unique UNIQUE (name, version)
);
COMMENT ON TABLE invoicing.template_version IS 'Every version of every template. Immutable.';
CREATE TRIGGER template_version_is_immutable BEFORE UPDATE OR DELETE ON invoicing.template_version
    FOR EACH ROW EXECUTE FUNCTION invoicing.refuse_change();

CREATE TABLE invoicing.audit_event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    actor text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    details jsonb NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE invoicing.audit_event IS 'What a person did: who, when, to what. Immutable.';
CREATE INDEX audit_event_subject ON invoicing.audit_event (subject, id);
CREATE TRIGGER audit_event_is_immutable BEFORE UPDATE OR DELETE ON invoicing.audit_event
    FOR EACH ROW EXECUTE FUNCTION invoicing.refuse_change();

-- A month, the runs that worked on it, and the invoices they issued.

CREATE TABLE invoicing.billing_cycle (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    period invoicing.period NOT NULL CONSTRAINT billing_cycle_one_a_period UNIQUE,
    state text NOT NULL DEFAULT 'open' CONSTRAINT billing_cycle_state_known CHECK (state IN ('open', 'closed')),
    opened_at timestamptz NOT NULL DEFAULT now(),
    closed_at timestamptz
);
COMMENT ON TABLE invoicing.billing_cycle IS 'A month that is billed; open until a run finds it balanced.';

CREATE TABLE invoicing.cycle_run (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    cycle_id bigint REFERENCES invoicing.billing_cycle,
    dag_id text NOT NULL,
    dag_run_id text NOT NULL,
    settings_version_id bigint NOT NULL REFERENCES invoicing.settings_version,
    template_version_id bigint NOT NULL REFERENCES invoicing.template_version,
    code_version text NOT NULL,
    state text NOT NULL DEFAULT 'running'
        CONSTRAINT cycle_run_state_known CHECK (state IN ('running', 'success', 'failed')),
    counts jsonb NOT NULL DEFAULT '{}',
    started_at timestamptz NOT NULL DEFAULT now(),
    generated_at timestamptz,
    counted_at timestamptz,
    decided_at timestamptz,
    ended_at timestamptz,
    -- The schedule, a backfill, a person in Airflow or on the pages, the command line, an event of an asset; null where nobody told.
    started_via text CONSTRAINT cycle_run_start_known CHECK (
        started_via IN ('schedule', 'backfill', 'airflow', 'command', 'asset')),
    -- A name, where a person started it.
    started_by text NOT NULL DEFAULT '',
    CONSTRAINT cycle_run_one_a_dag_run UNIQUE (dag_id, dag_run_id)
);
COMMENT ON TABLE invoicing.cycle_run IS 'One DAG run, with the snapshot of settings and template that it uses.';
CREATE INDEX cycle_run_cycle ON invoicing.cycle_run (cycle_id);
CREATE INDEX cycle_run_settings_version ON invoicing.cycle_run (settings_version_id);

CREATE TABLE invoicing.invoice_series (
    prefix text PRIMARY KEY,
    last_serial bigint NOT NULL DEFAULT 0
);
COMMENT ON TABLE invoicing.invoice_series IS 'The last number taken of each prefix: numbers have no gaps.';
-- Numbers that were taken stay taken, and none is taken past the range.
CREATE FUNCTION invoicing.keep_series() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
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
CREATE TRIGGER invoice_series_never_falls BEFORE UPDATE OR DELETE ON invoicing.invoice_series
    FOR EACH ROW EXECUTE FUNCTION invoicing.keep_series();
CREATE TRIGGER invoice_series_within_range BEFORE INSERT ON invoicing.invoice_series
    FOR EACH ROW EXECUTE FUNCTION invoicing.keep_series();

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

CREATE TABLE invoicing.invoice (
    id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    series text NOT NULL REFERENCES invoicing.invoice_series,
    serial bigint NOT NULL CONSTRAINT invoice_serial_counts_from_one CHECK (serial >= 1),
    number text GENERATED ALWAYS AS (series || serial::text) STORED,
    origin text NOT NULL CONSTRAINT invoice_origin_known CHECK (origin IN ('monthly', 'single', 'correction')),
    reference text CONSTRAINT invoice_reference_unique UNIQUE,
    cycle_id bigint REFERENCES invoicing.billing_cycle,
    run_id bigint REFERENCES invoicing.cycle_run,
    tenant_id bigint NOT NULL REFERENCES invoicing.tenant,
    lease_id bigint REFERENCES invoicing.lease,
    settings_version_id bigint NOT NULL REFERENCES invoicing.settings_version,
    period invoicing.period NOT NULL,
    issued_on date NOT NULL,
    due_on date NOT NULL,
    currency text NOT NULL,
    subtotal numeric NOT NULL,
    tax numeric NOT NULL,
    withholding numeric NOT NULL,
    total numeric NOT NULL CONSTRAINT invoice_total_is_positive CHECK (total > 0),
    -- As they were on the day of issue; a later import changes the tenant, never the invoice.
    tenant_name text NOT NULL,
    tenant_document_type text NOT NULL,
    tenant_document_number text NOT NULL,
    tenant_city text NOT NULL,
    language text NOT NULL,
    property text NOT NULL,
    property_city text NOT NULL,
    use text NOT NULL,
    state text NOT NULL DEFAULT 'issued' CONSTRAINT invoice_state_known
        CHECK (state IN ('issued', 'void', 'partly_credited', 'credited')),
    created_at timestamptz NOT NULL DEFAULT now(),
    kind text NOT NULL DEFAULT 'invoice' CONSTRAINT invoice_kind_known CHECK (kind IN ('invoice', 'credit_note')),
    -- Of a credit note: the invoice that it credits.
    corrects bigint REFERENCES invoicing.invoice,
    -- Of what was issued in the place of an invoice that was voided or credited whole: that one.
    replaces bigint CONSTRAINT invoice_replaced_once UNIQUE REFERENCES invoicing.invoice,
    -- It is decided on and sent by itself, as single invoices and credit notes are, though it is a month's.
    sent_apart boolean NOT NULL DEFAULT false,
    -- Neither void nor credited whole; a credit note never does.
    stands boolean NOT NULL GENERATED ALWAYS AS (kind = 'invoice' AND state IN ('issued', 'partly_credited')) STORED,
    CONSTRAINT invoice_credit_note_corrects CHECK (
        (kind = 'credit_note') = (corrects IS NOT NULL) AND (kind = 'credit_note') = (origin = 'correction')),
    CONSTRAINT invoice_replacement_is_monthly CHECK (replaces IS NULL OR origin = 'monthly'),
    CONSTRAINT invoice_apart_is_replacement CHECK (NOT sent_apart OR replaces IS NOT NULL),
    CONSTRAINT invoice_serial_unique UNIQUE (series, serial),
    CONSTRAINT invoice_number_unique UNIQUE (number),
    CONSTRAINT invoice_total_adds_up CHECK (total = subtotal + tax - withholding),
    CONSTRAINT invoice_due_after_issue CHECK (due_on >= issued_on),
    CONSTRAINT invoice_monthly_has_lease_and_cycle
        CHECK (origin <> 'monthly' OR (lease_id IS NOT NULL AND cycle_id IS NOT NULL AND reference IS NULL)),
    CONSTRAINT invoice_single_has_reference
        CHECK (origin <> 'single' OR (reference IS NOT NULL AND cycle_id IS NULL))
);
COMMENT ON TABLE invoicing.invoice IS 'An issued invoice or credit note. It never changes; an invoice may be voided, or credited.';
CREATE UNIQUE INDEX invoice_one_standing_a_lease_and_period ON invoicing.invoice (lease_id, period)
    WHERE origin = 'monthly' AND stands;
CREATE UNIQUE INDEX invoice_issued_by_a_run_once ON invoicing.invoice (lease_id, period)
    WHERE origin = 'monthly' AND replaces IS NULL;
COMMENT ON INDEX invoicing.invoice_issued_by_a_run_once IS 'What was voided or credited is issued again as a replacement alone.';
CREATE INDEX invoice_period ON invoicing.invoice (period, lease_id);
COMMENT ON INDEX invoicing.invoice_period IS 'Which leases a month lacks is asked by every look at it.';
CREATE INDEX invoice_of_cycle_by_number ON invoicing.invoice (cycle_id, series, serial);
CREATE INDEX invoice_cycle_tenant ON invoicing.invoice (cycle_id, tenant_id);
CREATE INDEX invoice_tenant ON invoicing.invoice (tenant_id);
CREATE INDEX invoice_cycle_sums ON invoicing.invoice (cycle_id, currency) INCLUDE (total)
    WHERE origin = 'monthly' AND stands;
CREATE INDEX invoice_corrects ON invoicing.invoice (corrects) WHERE corrects IS NOT NULL;
CREATE INDEX invoice_apart ON invoicing.invoice (id) WHERE origin <> 'monthly' OR sent_apart;
CREATE INDEX invoice_single ON invoicing.invoice (id) WHERE origin = 'single';
-- Seals the invoice, too.
CREATE FUNCTION invoicing.check_invoice_sums() RETURNS trigger LANGUAGE plpgsql
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
-- An issued invoice never changes: it can be voided, once, or credited, to the amount of its credit notes. The number is
-- generated after this trigger, from columns that are compared; so is whether it stands.
CREATE FUNCTION invoicing.keep_invoice() RETURNS trigger LANGUAGE plpgsql
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
CREATE CONSTRAINT TRIGGER invoice_sums_of_lines AFTER INSERT ON invoicing.invoice
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION invoicing.check_invoice_sums();
CREATE TRIGGER invoice_is_kept BEFORE UPDATE OR DELETE ON invoicing.invoice
    FOR EACH ROW EXECUTE FUNCTION invoicing.keep_invoice();

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

-- An invoice is sealed at the end of the transaction that issues it.
CREATE TABLE invoicing.sealed_invoice (
    invoice_id bigint PRIMARY KEY REFERENCES invoicing.invoice
);
COMMENT ON TABLE invoicing.sealed_invoice IS
    'Invoices that were committed with all that belongs to them: nothing is added. Only a trigger writes here. Immutable.';
CREATE TRIGGER sealed_invoice_is_immutable BEFORE UPDATE OR DELETE ON invoicing.sealed_invoice
    FOR EACH ROW EXECUTE FUNCTION invoicing.refuse_change();
CREATE FUNCTION invoicing.refuse_addition() RETURNS trigger LANGUAGE plpgsql
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

CREATE TABLE invoicing.invoice_line (
    invoice_id bigint NOT NULL REFERENCES invoicing.invoice,
    position integer NOT NULL,
    concept text NOT NULL,
    description text NOT NULL,
    amount numeric NOT NULL,
    tax_rate numeric NOT NULL,
    tax numeric NOT NULL,
    active_days integer,
    period_days integer,
    PRIMARY KEY (invoice_id, position)
);
COMMENT ON TABLE invoicing.invoice_line IS 'The lines of an invoice, with their IVA. Immutable.';
CREATE TRIGGER invoice_line_is_immutable BEFORE UPDATE OR DELETE ON invoicing.invoice_line
    FOR EACH ROW EXECUTE FUNCTION invoicing.refuse_change();
CREATE TRIGGER invoice_line_comes_with_its_invoice AFTER INSERT ON invoicing.invoice_line REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION invoicing.refuse_addition();

CREATE TABLE invoicing.invoice_withholding (
    invoice_id bigint NOT NULL REFERENCES invoicing.invoice,
    tax text NOT NULL,
    rate numeric NOT NULL,
    base numeric NOT NULL,
    amount numeric NOT NULL,
    PRIMARY KEY (invoice_id, tax)
);
COMMENT ON TABLE invoicing.invoice_withholding IS 'What the tenant of an invoice withholds. Immutable.';
CREATE TRIGGER invoice_withholding_is_immutable BEFORE UPDATE OR DELETE ON invoicing.invoice_withholding
    FOR EACH ROW EXECUTE FUNCTION invoicing.refuse_change();
CREATE TRIGGER invoice_withholding_comes_with_its_invoice AFTER INSERT ON invoicing.invoice_withholding REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION invoicing.refuse_addition();

CREATE TABLE invoicing.invoice_document (
    invoice_id bigint PRIMARY KEY REFERENCES invoicing.invoice,
    -- Where it was before documents had keys: read there where the archive has it not.
    former_uri text,
    sha256 text NOT NULL CONSTRAINT invoice_document_sha256_is_hex CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    size_bytes bigint NOT NULL,
    template_version_id bigint NOT NULL REFERENCES invoicing.template_version,
    rendered_at timestamptz NOT NULL DEFAULT now(),
    -- Relative to the archive's root: PERIOD/xxxx-FV-1.pdf.
    key text CONSTRAINT invoice_document_key_is_relative CHECK (key NOT LIKE '/%' AND key NOT LIKE '%:%'),
    CONSTRAINT invoice_document_is_somewhere CHECK (key IS NOT NULL OR former_uri IS NOT NULL)
);
COMMENT ON TABLE invoicing.invoice_document IS
    'The PDF of an invoice: its key under the archive''s root, and its SHA-256. Immutable.';
CREATE TRIGGER invoice_document_is_immutable BEFORE UPDATE OR DELETE ON invoicing.invoice_document
    FOR EACH ROW EXECUTE FUNCTION invoicing.refuse_change();

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
CREATE TRIGGER invoice_basis_comes_with_its_invoice AFTER INSERT ON invoicing.invoice_basis REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION invoicing.refuse_addition();
CREATE TRIGGER invoice_basis_is_not_emptied BEFORE TRUNCATE ON invoicing.invoice_basis EXECUTE FUNCTION invoicing.refuse_change();

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

CREATE TABLE invoicing.unissued_invoice (
    cycle_id bigint NOT NULL REFERENCES invoicing.billing_cycle,
    lease_id bigint NOT NULL REFERENCES invoicing.lease,
    run_id bigint NOT NULL REFERENCES invoicing.cycle_run,
    total numeric NOT NULL,
    currency text NOT NULL,
    PRIMARY KEY (cycle_id, lease_id)
);
COMMENT ON TABLE invoicing.unissued_invoice IS 'Leases of a cycle whose total is nothing or less: reported, not invoiced.';

CREATE TABLE invoicing.drifted_invoice (
    invoice_id bigint PRIMARY KEY REFERENCES invoicing.invoice,
    -- Both empty where nothing would be billed, or the invoice cannot be worked out.
    total numeric,
    currency text,
    found_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE invoicing.drifted_invoice IS
    'Monthly invoices that would come out differently today, with the total they would have: as of the last import or run.';

-- Who is to get mail, and why.

CREATE TABLE invoicing.unmade_document (
    invoice_id bigint PRIMARY KEY REFERENCES invoicing.invoice,
    run_id bigint NOT NULL REFERENCES invoicing.cycle_run,
    asked_at timestamptz NOT NULL DEFAULT now(),
    -- Why it could not be made, in both languages; null as long as nobody tried.
    problem jsonb CONSTRAINT unmade_document_problem_has_words CHECK (problem ?& '{es,en}')
);
COMMENT ON TABLE invoicing.unmade_document IS
    'Documents that nobody is mailed and a run asked for, as long as they are not made: found anew by each run.';

CREATE TABLE invoicing.invoice_count (
    run_id bigint NOT NULL REFERENCES invoicing.cycle_run ON DELETE CASCADE,
    tenant_id bigint NOT NULL REFERENCES invoicing.tenant,
    invoices integer NOT NULL CONSTRAINT invoice_count_at_least_one CHECK (invoices >= 1),
    PRIMARY KEY (run_id, tenant_id)
);
COMMENT ON TABLE invoicing.invoice_count IS 'Invoices per tenant, as one run counted them.';

CREATE TABLE invoicing.decision (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id bigint NOT NULL REFERENCES invoicing.cycle_run,
    cycle_id bigint REFERENCES invoicing.billing_cycle,
    tenant_id bigint NOT NULL REFERENCES invoicing.tenant,
    -- A single invoice is decided on by itself.
    invoice_id bigint REFERENCES invoicing.invoice,
    invoice_count integer NOT NULL,
    reason text,
    trace jsonb NOT NULL,
    decided_at timestamptz NOT NULL DEFAULT now(),
    superseded_at timestamptz,
    CONSTRAINT decision_is_on_a_cycle_or_an_invoice CHECK ((cycle_id IS NULL) <> (invoice_id IS NULL))
);
COMMENT ON TABLE invoicing.decision IS 'Whether a tenant (or a single invoice) gets mail, why, and every rule that was asked.';
CREATE UNIQUE INDEX decision_one_current_a_tenant ON invoicing.decision (cycle_id, tenant_id)
    WHERE superseded_at IS NULL AND cycle_id IS NOT NULL;
CREATE UNIQUE INDEX decision_one_current_a_single_invoice ON invoicing.decision (invoice_id)
    WHERE superseded_at IS NULL AND invoice_id IS NOT NULL;
CREATE INDEX decision_tenant ON invoicing.decision (tenant_id);
CREATE INDEX decision_by_count ON invoicing.decision (cycle_id, invoice_count, tenant_id) WHERE superseded_at IS NULL;
CREATE INDEX decision_by_reason ON invoicing.decision (cycle_id, (coalesce(reason, '')), tenant_id) WHERE superseded_at IS NULL;
CREATE INDEX decision_cycle_outcome ON invoicing.decision (cycle_id, reason) WHERE superseded_at IS NULL;
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

CREATE FUNCTION invoicing.is_held_now(tenant bigint, month text) RETURNS boolean VOLATILE LANGUAGE plpgsql AS $$
-- In SQL the planner would put is_held in its place, which looks when the statement began.
BEGIN
    RETURN invoicing.is_held(tenant, month);
END $$;
COMMENT ON FUNCTION invoicing.is_held_now(bigint, text) IS
    'As is_held, by what is committed when it is asked, and not when the statement began: for whoever waited for a row.';

-- What is sent, how often it was tried, and what the relay said.

CREATE TABLE invoicing.delivery (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id bigint REFERENCES invoicing.cycle_run,
    cycle_id bigint REFERENCES invoicing.billing_cycle,
    tenant_id bigint NOT NULL REFERENCES invoicing.tenant,
    period invoicing.period NOT NULL,
    purpose text NOT NULL CONSTRAINT delivery_purpose_known CHECK (purpose IN ('initial', 'resend')),
    generation integer NOT NULL DEFAULT 1 CONSTRAINT delivery_generation_counts_from_one CHECK (generation >= 1),
    resend_of bigint REFERENCES invoicing.delivery,
    state text NOT NULL DEFAULT 'pending' CONSTRAINT delivery_state_known CHECK (
        state IN ('pending', 'claimed', 'transmitting', 'sent', 'failed', 'in_doubt', 'held', 'cancelled')),
    message_id text NOT NULL CONSTRAINT delivery_message_id_unique UNIQUE,
    message_date timestamptz NOT NULL DEFAULT now(),
    to_addresses text[] NOT NULL CONSTRAINT delivery_has_a_recipient CHECK (cardinality(to_addresses) >= 1),
    cc_addresses text[] NOT NULL DEFAULT '{}',
    language text NOT NULL,
    settings_version_id bigint NOT NULL REFERENCES invoicing.settings_version,
    template_version_id bigint NOT NULL REFERENCES invoicing.template_version,
    -- Grows with each claim; every later write of the worker that claimed carries it.
    claim_token bigint NOT NULL DEFAULT 0,
    claim_until timestamptz,
    -- The task instance that holds or held it ('dag/run/task/map index'), and that instance's execution:
    -- a person's clear starts a new one, an automatic retry does not.
    claimed_by text,
    execution text,
    attempts integer NOT NULL DEFAULT 0,
    last_reply text,
    -- A person asked for it to be sent (again), or the doubt policy did: `send_new_invoices` takes it up.
    on_request boolean NOT NULL DEFAULT false,
    -- A person settled its doubt as failed: no run takes it up again, only a person does.
    given_up boolean NOT NULL DEFAULT false,
    -- How often the doubt policy sent it again: each may have been a duplicate.
    doubt_resends integer NOT NULL DEFAULT 0,
    actor text NOT NULL,
    reason text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    -- It sends again with the words of then: no new execution gives it the settings, template and language of its day.
    keeps_words boolean NOT NULL DEFAULT false,
    CONSTRAINT delivery_claim_while_held CHECK (
        (state IN ('claimed', 'transmitting')) = (claim_until IS NOT NULL)),
    CONSTRAINT delivery_resend_has_reason CHECK (
        purpose = 'initial' OR (resend_of IS NOT NULL AND reason <> '')),
    CONSTRAINT delivery_keeps_words_of_another CHECK (NOT keeps_words OR resend_of IS NOT NULL)
);
COMMENT ON TABLE invoicing.delivery IS 'A message to a tenant and its state: pending, claimed, transmitting, sent, failed, in_doubt, held, cancelled.';
CREATE INDEX delivery_period ON invoicing.delivery (period, id);
CREATE INDEX delivery_withdrawn ON invoicing.delivery (id) WHERE state = 'cancelled';
CREATE INDEX delivery_family ON invoicing.delivery ((coalesce(resend_of, id)));
CREATE INDEX delivery_cycle_tenant ON invoicing.delivery (cycle_id, tenant_id);
CREATE INDEX delivery_tenant ON invoicing.delivery (tenant_id);
CREATE INDEX delivery_unsettled ON invoicing.delivery (state, claim_until)
    WHERE state NOT IN ('sent', 'cancelled');
CREATE INDEX delivery_by_state ON invoicing.delivery (cycle_id, state, id);
CREATE INDEX delivery_by_update ON invoicing.delivery (cycle_id, updated_at, id);
CREATE INDEX delivery_again ON invoicing.delivery (id) WHERE purpose = 'resend' OR on_request;
CREATE INDEX delivery_run ON invoicing.delivery (run_id);
CREATE FUNCTION invoicing.guard_delivery() RETURNS trigger LANGUAGE plpgsql
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
CREATE TRIGGER delivery_is_guarded BEFORE UPDATE OR DELETE ON invoicing.delivery
    FOR EACH ROW EXECUTE FUNCTION invoicing.guard_delivery();

CREATE TABLE invoicing.delivery_invoice (
    delivery_id bigint NOT NULL REFERENCES invoicing.delivery,
    invoice_id bigint NOT NULL REFERENCES invoicing.invoice,
    -- Copied from the delivery, so that the index below can hold the promise; kept true by a trigger.
    purpose text NOT NULL,
    live boolean NOT NULL DEFAULT true,
    PRIMARY KEY (delivery_id, invoice_id)
);
COMMENT ON TABLE invoicing.delivery_invoice IS 'The invoices that a delivery carries.';
CREATE UNIQUE INDEX delivery_invoice_one_live_initial ON invoicing.delivery_invoice (invoice_id)
    WHERE purpose = 'initial' AND live;
CREATE INDEX delivery_invoice_invoice ON invoicing.delivery_invoice (invoice_id);
-- The invoices of a delivery freeze with the rest of its content; a voided one has left it.
CREATE FUNCTION invoicing.guard_delivery_invoice() RETURNS trigger LANGUAGE plpgsql
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
CREATE TRIGGER delivery_invoice_is_guarded BEFORE INSERT OR UPDATE OR DELETE ON invoicing.delivery_invoice
    FOR EACH ROW EXECUTE FUNCTION invoicing.guard_delivery_invoice();

CREATE VIEW invoicing.unmailed_without_document AS
    SELECT i.id, i.number, i.cycle_id, false AS is_apart
    FROM invoicing.invoice AS i
    JOIN invoicing.decision AS c ON c.cycle_id = i.cycle_id AND c.tenant_id = i.tenant_id AND c.superseded_at IS NULL
    WHERE i.origin = 'monthly' AND NOT i.sent_apart AND i.state <> 'void'
      AND c.reason IS NOT NULL AND c.reason <> 'tenant_held' AND NOT invoicing.is_held(i.tenant_id, i.period)
      AND NOT EXISTS (SELECT FROM invoicing.invoice_document AS doc WHERE doc.invoice_id = i.id)
      AND NOT EXISTS (SELECT FROM invoicing.delivery_invoice AS di WHERE di.invoice_id = i.id AND di.live)
    UNION ALL
    -- Single invoices, credit notes, and what replaces a credited invoice are decided on one by one.
    SELECT i.id, i.number, i.cycle_id, true
    FROM invoicing.decision AS c
    JOIN invoicing.invoice AS i ON i.id = c.invoice_id
    WHERE c.invoice_id IS NOT NULL AND c.superseded_at IS NULL AND i.state <> 'void'
      AND c.reason IS NOT NULL AND c.reason <> 'tenant_held' AND NOT invoicing.is_held(i.tenant_id, i.period)
      AND NOT EXISTS (SELECT FROM invoicing.invoice_document AS doc WHERE doc.invoice_id = i.id)
      AND NOT EXISTS (SELECT FROM invoicing.delivery_invoice AS di WHERE di.invoice_id = i.id AND di.live);
COMMENT ON VIEW invoicing.unmailed_without_document IS
    'Invoices that have no document and of which it was decided that nobody is mailed: no message brings it along.';

CREATE TABLE invoicing.delivery_attempt (
    delivery_id bigint NOT NULL REFERENCES invoicing.delivery,
    claim_token bigint NOT NULL,
    claimed_by text NOT NULL,
    host text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    marked_at timestamptz,
    ended_at timestamptz,
    -- Null until it is settled: an attempt whose worker died stays so, and its phase tells how far it got.
    verdict text CONSTRAINT delivery_attempt_verdict_known CHECK (
        verdict IN ('accepted', 'refused_temporarily', 'refused_permanently', 'not_sent', 'in_doubt')),
    phase text NOT NULL DEFAULT 'claimed',
    code integer,
    reply text,
    payload_sha256 text,
    PRIMARY KEY (delivery_id, claim_token)
);
COMMENT ON TABLE invoicing.delivery_attempt IS 'One claim of a delivery by a worker: how far it came, and what the relay said.';
CREATE INDEX delivery_attempt_started ON invoicing.delivery_attempt (started_at);
-- An attempt begins with its claim, is marked while its delivery is transmitted, and has one verdict.
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

CREATE FUNCTION invoicing.may_have_left(delivery bigint) RETURNS boolean STABLE LANGUAGE sql AS $$
    SELECT EXISTS (
        SELECT FROM invoicing.delivery_attempt AS a
        WHERE a.delivery_id = delivery AND a.marked_at IS NOT NULL
          AND (a.verdict IS NULL OR a.verdict IN ('accepted', 'in_doubt')))
$$;
COMMENT ON FUNCTION invoicing.may_have_left(bigint) IS
    'Whether a transmission of the delivery was marked and is not known to have failed.';

CREATE TABLE invoicing.delivery_event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    delivery_id bigint NOT NULL REFERENCES invoicing.delivery,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    from_state text,
    to_state text NOT NULL,
    claim_token bigint NOT NULL,
    actor text NOT NULL,
    reason text,
    reply text
);
COMMENT ON TABLE invoicing.delivery_event IS 'Every change of a delivery''s state: who, when, why. Immutable.';
CREATE INDEX delivery_event_delivery ON invoicing.delivery_event (delivery_id);
CREATE TRIGGER delivery_event_is_immutable BEFORE UPDATE OR DELETE ON invoicing.delivery_event
    FOR EACH ROW EXECUTE FUNCTION invoicing.refuse_change();

-- Nobody else writes events, nor says which deliveries of an invoice are live.
CREATE FUNCTION invoicing.record_delivery_event() RETURNS trigger LANGUAGE plpgsql
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
CREATE TRIGGER delivery_events AFTER UPDATE ON invoicing.delivery
    FOR EACH ROW EXECUTE FUNCTION invoicing.record_delivery_event();
-- The event of each delivery that is made.
CREATE FUNCTION invoicing.record_new_deliveries() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO invoicing.delivery_event (delivery_id, from_state, to_state, claim_token, actor, reason)
    SELECT id, NULL, state, claim_token, actor, reason FROM written ORDER BY id;
    RETURN NULL;
END $$;
CREATE TRIGGER delivery_events_begin AFTER INSERT ON invoicing.delivery REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION invoicing.record_new_deliveries();

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

-- What a person lets leave: what was asked, delivery by delivery, and the one answer to it. A claim asks it.

CREATE TABLE invoicing.approval_request (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- 'month': a run asks about all that it is about to send. 'deliveries': a person's own act on some.
    scope text NOT NULL CONSTRAINT approval_request_scope_known CHECK (scope IN ('month', 'deliveries')),
    cycle_id bigint NOT NULL REFERENCES invoicing.billing_cycle,
    run_id bigint REFERENCES invoicing.cycle_run,
    -- Over its items' fingerprints.
    fingerprint text NOT NULL CONSTRAINT approval_request_fingerprint_is_hex CHECK (fingerprint ~ '^[0-9a-f]{64}$'),
    summary jsonb NOT NULL,
    actor text NOT NULL,
    asked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT approval_request_of_a_month_has_its_run CHECK (scope <> 'month' OR run_id IS NOT NULL)
);
COMMENT ON TABLE invoicing.approval_request IS 'What a person was asked to let leave: the totals as they were shown, and a fingerprint. Immutable.';
CREATE INDEX approval_request_cycle ON invoicing.approval_request (cycle_id, id);
CREATE TRIGGER approval_request_is_immutable BEFORE UPDATE OR DELETE ON invoicing.approval_request
    FOR EACH ROW EXECUTE FUNCTION invoicing.refuse_change();
CREATE TRIGGER approval_request_is_not_emptied BEFORE TRUNCATE ON invoicing.approval_request EXECUTE FUNCTION invoicing.refuse_change();

CREATE TABLE invoicing.approval_answer (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    request_id bigint NOT NULL CONSTRAINT approval_answer_one_a_request UNIQUE REFERENCES invoicing.approval_request,
    answer text NOT NULL CONSTRAINT approval_answer_known CHECK (answer IN ('approved', 'rejected', 'overtaken')),
    -- Where it was given: on a page, by the JSON API or the command line, in Airflow, with a person's own act of sending, by
    -- the setting's own rule, or by a run that found it changed.
    via text NOT NULL CONSTRAINT approval_answer_way_known CHECK (via IN ('page', 'api', 'command', 'airflow', 'act', 'rule', 'run')),
    actor text NOT NULL CONSTRAINT approval_answer_has_an_actor CHECK (actor <> ''),
    reason text NOT NULL DEFAULT '',
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT approval_answer_rule_approves CHECK (via <> 'rule' OR answer = 'approved'),
    CONSTRAINT approval_answer_run_overtakes CHECK (via <> 'run' OR answer = 'overtaken')
);
COMMENT ON TABLE invoicing.approval_answer IS 'The one answer to a request: who, when, why; or that something had changed. Immutable.';
CREATE TRIGGER approval_answer_is_immutable BEFORE UPDATE OR DELETE ON invoicing.approval_answer
    FOR EACH ROW EXECUTE FUNCTION invoicing.refuse_change();
CREATE TRIGGER approval_answer_is_not_emptied BEFORE TRUNCATE ON invoicing.approval_answer EXECUTE FUNCTION invoicing.refuse_change();

CREATE TABLE invoicing.approval_item (
    request_id bigint NOT NULL REFERENCES invoicing.approval_request,
    delivery_id bigint NOT NULL REFERENCES invoicing.delivery,
    fingerprint text NOT NULL CONSTRAINT approval_item_fingerprint_is_hex CHECK (fingerprint ~ '^[0-9a-f]{64}$'),
    PRIMARY KEY (request_id, delivery_id)
);
COMMENT ON TABLE invoicing.approval_item IS 'The deliveries of a request, each with the fingerprint of what would leave. Immutable.';
CREATE INDEX approval_item_delivery ON invoicing.approval_item (delivery_id);
CREATE FUNCTION invoicing.guard_approval_item() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- An answer is to what was asked then. Locked, so that none comes in between.
    PERFORM FROM invoicing.approval_request WHERE id = NEW.request_id FOR UPDATE;
    IF EXISTS (SELECT FROM invoicing.approval_answer WHERE request_id = NEW.request_id) THEN
        RAISE EXCEPTION 'request % is answered: nothing is added to it', NEW.request_id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER approval_item_comes_before_the_answer BEFORE INSERT ON invoicing.approval_item
    FOR EACH ROW EXECUTE FUNCTION invoicing.guard_approval_item();
CREATE TRIGGER approval_item_is_immutable BEFORE UPDATE OR DELETE ON invoicing.approval_item
    FOR EACH ROW EXECUTE FUNCTION invoicing.refuse_change();
CREATE TRIGGER approval_item_is_not_emptied BEFORE TRUNCATE ON invoicing.approval_item EXECUTE FUNCTION invoicing.refuse_change();

-- A later credit takes nothing from what was approved, and sent.
CREATE FUNCTION invoicing.delivery_fingerprint(
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
COMMENT ON FUNCTION invoicing.delivery_fingerprint(bigint, text[], text[], text, bigint, bigint) IS
    'SHA-256 of all that a message is made of: recipients, language, settings (sender, subject), template, invoices, documents.';

CREATE FUNCTION invoicing.is_approved(delivery bigint, content text) RETURNS boolean STABLE LANGUAGE sql AS $$
    -- The newest word on the delivery counts: a rejection ends an earlier approval.
    SELECT coalesce((
        SELECT a.answer = 'approved' AND i.fingerprint = content
        FROM invoicing.approval_item AS i JOIN invoicing.approval_answer AS a ON a.request_id = i.request_id
        WHERE i.delivery_id = delivery AND a.answer IN ('approved', 'rejected')
        ORDER BY a.id DESC LIMIT 1
    ), false)
$$;
COMMENT ON FUNCTION invoicing.is_approved(bigint, text) IS 'Whether the newest answer about a delivery approves what this fingerprint stands for.';

CREATE FUNCTION invoicing.lacks_approval(
    delivery bigint, to_addresses text[], cc_addresses text[], language text, settings_version bigint, template_version bigint
) RETURNS boolean STABLE LANGUAGE plpgsql AS $$
-- In SQL it was planned anew each time, twice a message: a quarter of a millisecond, where it takes some hundredths.
BEGIN
    IF NOT EXISTS (
        SELECT FROM invoicing.delivery AS d JOIN invoicing.settings_version AS s ON s.id = settings_version
        WHERE d.id = delivery AND d.purpose = 'initial' AND d.cycle_id IS NOT NULL
          AND s.settings ->> 'approval' IN ('always', 'changed')
    ) THEN
        RETURN false;
    END IF;
    RETURN NOT invoicing.is_approved(delivery, invoicing.delivery_fingerprint(
        delivery, to_addresses, cc_addresses, language, settings_version, template_version));
END $$;
COMMENT ON FUNCTION invoicing.lacks_approval(bigint, text[], text[], text, bigint, bigint) IS
    'Whether the settings ask for an approval of a month''s first delivery, and nobody approved just this content of it.';

-- A claim of what nobody approved is refused by the table itself.
CREATE FUNCTION invoicing.refuse_unapproved() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF invoicing.lacks_approval(NEW.id, NEW.to_addresses, NEW.cc_addresses, NEW.language, NEW.settings_version_id,
                                NEW.template_version_id) THEN
        RAISE EXCEPTION 'delivery %: nobody approved what would leave', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'delivery_approved';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER delivery_is_approved BEFORE UPDATE ON invoicing.delivery FOR EACH ROW
    WHEN (NEW.state = 'claimed' AND NEW.claim_token <> OLD.claim_token) EXECUTE FUNCTION invoicing.refuse_unapproved();

CREATE TABLE invoicing.transmission_slot (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    taken_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz
);
COMMENT ON TABLE invoicing.transmission_slot IS 'Transmissions under way and just ended, for the limit per minute.';
CREATE INDEX transmission_slot_ended ON invoicing.transmission_slot (ended_at);

-- What the operator is told.

CREATE TABLE invoicing.operator_notice (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    cause text NOT NULL,
    texts jsonb NOT NULL,
    alarm_on date,
    created_at timestamptz NOT NULL DEFAULT now(),
    sent_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    problem text,
    CONSTRAINT operator_notice_once_a_day UNIQUE (cause, alarm_on)
);
COMMENT ON TABLE invoicing.operator_notice IS
    'What the operator is to be told, and whether they were. An alarm has a day, on which its cause is told once.';
CREATE INDEX operator_notice_unsent ON invoicing.operator_notice (id) WHERE sent_at IS NULL;

-- Test messages of a template.

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
CREATE TRIGGER trial_message_is_kept BEFORE UPDATE OR DELETE ON invoicing.trial_message
    FOR EACH ROW EXECUTE FUNCTION invoicing.keep_trial_message();
CREATE TRIGGER trial_message_is_not_emptied BEFORE TRUNCATE ON invoicing.trial_message
    FOR EACH STATEMENT EXECUTE FUNCTION invoicing.refuse_change();

CREATE TABLE invoicing.schema_migration (
    version text PRIMARY KEY,
    sha256 text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE invoicing.schema_migration IS 'Migrations that were applied, with their checksums.';

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

-- History that cannot be rewritten quietly: each row that counts is hashed as it is written, the hashes are chained.

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

-- Its arguments are the columns of the key. OFFSET 0: without it a row's text would be made three times.
CREATE FUNCTION invoicing.keep_history() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
BEGIN
    INSERT INTO invoicing.history_entry (source, key, sha256)
    SELECT TG_TABLE_NAME, (line ->> TG_ARGV[0]) || coalesce('/' || (line ->> TG_ARGV[1]), ''),
           sha256(convert_to(line::text, 'UTF8'))
    FROM (SELECT to_jsonb(w) AS line FROM written AS w OFFSET 0) AS lines;
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

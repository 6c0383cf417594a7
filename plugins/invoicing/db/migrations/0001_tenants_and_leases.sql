-- Who is billed, for what, and at which tax rates: the imported side of the business.

CREATE DOMAIN invoicing.period AS text
    CONSTRAINT period_is_a_month CHECK (VALUE ~ '^2[01][0-9]{2}-(0[1-9]|1[0-2])$');

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
    updated_at timestamptz NOT NULL DEFAULT now()
);

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

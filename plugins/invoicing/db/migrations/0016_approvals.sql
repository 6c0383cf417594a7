-- A person approves what a monthly run is about to send: what was asked, delivery by delivery, and the one answer to it.
-- The ledger is the arbiter, wherever it was answered; a claim asks it.
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

CREATE FUNCTION invoicing.delivery_fingerprint(
    delivery bigint, to_addresses text[], cc_addresses text[], language text, settings_version bigint, template_version bigint
) RETURNS text STABLE LANGUAGE sql AS $$
    SELECT encode(sha256(convert_to(jsonb_build_array(
        delivery, to_jsonb(to_addresses), to_jsonb(cc_addresses), language, settings_version, template_version,
        (SELECT coalesce(jsonb_agg(jsonb_build_array(i.number, i.total, i.currency, i.state, f.sha256) ORDER BY i.series, i.serial), '[]')
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
) RETURNS boolean STABLE LANGUAGE sql AS $$
    SELECT EXISTS (
        SELECT FROM invoicing.delivery AS d JOIN invoicing.settings_version AS s ON s.id = settings_version
        WHERE d.id = delivery AND d.purpose = 'initial' AND d.cycle_id IS NOT NULL
          AND s.settings ->> 'approval' IN ('always', 'changed')
    ) AND NOT invoicing.is_approved(delivery, invoicing.delivery_fingerprint(
        delivery, to_addresses, cc_addresses, language, settings_version, template_version))
$$;
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

-- name: grant_all
-- All that the application's role may do, on one page: what is not granted here, it cannot. Applied after every
-- migration, from nothing; a new table gets its line here, or the application cannot see it.
REVOKE ALL ON SCHEMA invoicing FROM PUBLIC, {runtime};
REVOKE ALL ON ALL TABLES IN SCHEMA invoicing FROM PUBLIC, {runtime};
REVOKE ALL ON ALL SEQUENCES IN SCHEMA invoicing FROM PUBLIC, {runtime};
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA invoicing FROM PUBLIC, {runtime};
GRANT USAGE ON SCHEMA invoicing TO {runtime};

-- Who is billed, for what, and at which rates: as the files say. Codes stay, and nobody is deleted.
GRANT SELECT,
    INSERT (code, document_type, document_number, name, emails, cc_emails, language, city, withholding_agent, auto_send,
        only_multiple),
    UPDATE (document_type, document_number, name, emails, cc_emails, language, city, withholding_agent, auto_send,
        only_multiple, updated_at)
    ON invoicing.tenant TO {runtime};
GRANT SELECT,
    INSERT (code, tenant_id, property, city, use, start_date, end_date, rent, currency),
    UPDATE (tenant_id, property, city, use, start_date, end_date, rent, currency, updated_at)
    ON invoicing.lease TO {runtime};
GRANT SELECT, INSERT, DELETE ON invoicing.charge, invoicing.tax_rate TO {runtime};

-- By which rules, and who changed them: versions are added.
GRANT SELECT, INSERT (settings, actor) ON invoicing.settings_version TO {runtime};
GRANT SELECT ON invoicing.settings_in_force TO {runtime};
GRANT SELECT, INSERT (name, version, parts, fields, actor) ON invoicing.template_version TO {runtime};
GRANT SELECT, INSERT (actor, action, subject, details) ON invoicing.audit_event TO {runtime};

-- A month, and the runs that worked on it.
GRANT SELECT, INSERT (period), UPDATE (state, closed_at) ON invoicing.billing_cycle TO {runtime};
GRANT SELECT,
    INSERT (cycle_id, dag_id, dag_run_id, settings_version_id, template_version_id, code_version, started_via, started_by),
    UPDATE (cycle_id, settings_version_id, template_version_id, code_version, state, counts, started_at, generated_at,
        counted_at, decided_at, ended_at)
    ON invoicing.cycle_run TO {runtime};

-- Invoices are added, whole, and may be voided or credited; whoever does that says why.
GRANT SELECT, INSERT (prefix, last_serial), UPDATE (last_serial) ON invoicing.invoice_series TO {runtime};
GRANT SELECT,
    INSERT (id, series, serial, origin, reference, cycle_id, run_id, tenant_id, lease_id, settings_version_id, period,
        issued_on, due_on, currency, subtotal, tax, withholding, total, tenant_name, tenant_document_type,
        tenant_document_number, tenant_city, language, property, property_city, use, kind, corrects, replaces,
        sent_apart),
    UPDATE (state)
    ON invoicing.invoice TO {runtime};
GRANT USAGE ON SEQUENCE invoicing.invoice_id_seq TO {runtime};
GRANT SELECT, INSERT ON invoicing.invoice_line, invoicing.invoice_withholding TO {runtime};
GRANT SELECT, INSERT (invoice_id, basis) ON invoicing.invoice_basis TO {runtime};
GRANT SELECT ON invoicing.sealed_invoice TO {runtime};
GRANT SELECT, INSERT (invoice_id, act, made_id, reason, actor) ON invoicing.invoice_correction TO {runtime};
GRANT SELECT, INSERT (prefix, first_serial, last_serial, valid_from, valid_to, resolution, actor)
    ON invoicing.series_range TO {runtime};
GRANT SELECT, INSERT (invoice_id, key, sha256, size_bytes, template_version_id)
    ON invoicing.invoice_document TO {runtime};

-- What a run found, as of the last time it looked: found anew.
GRANT SELECT, INSERT, DELETE ON invoicing.unissued_invoice, invoicing.invoice_count TO {runtime};
GRANT SELECT, INSERT (invoice_id, total, currency), UPDATE (total, currency), DELETE
    ON invoicing.drifted_invoice TO {runtime};
GRANT SELECT, INSERT (invoice_id, run_id, problem), UPDATE (problem), DELETE ON invoicing.unmade_document TO {runtime};
GRANT SELECT ON invoicing.unmailed_without_document TO {runtime};

-- Who gets mail, and why.
GRANT SELECT,
    INSERT (run_id, cycle_id, tenant_id, invoice_id, invoice_count, reason, trace),
    UPDATE (superseded_at)
    ON invoicing.decision TO {runtime};

-- What is sent: a delivery begins as pending and moves by the trigger's leave; what it is, stays. Events are written by
-- the trigger alone.
GRANT SELECT,
    INSERT (run_id, cycle_id, tenant_id, period, purpose, generation, resend_of, message_id, to_addresses, cc_addresses,
        language, settings_version_id, template_version_id, on_request, keeps_words, actor, reason),
    UPDATE (run_id, state, message_date, to_addresses, cc_addresses, language, settings_version_id, template_version_id,
        claim_token, claim_until, claimed_by, execution, attempts, last_reply, on_request, given_up, doubt_resends, actor,
        reason)
    ON invoicing.delivery TO {runtime};
GRANT SELECT, INSERT (delivery_id, invoice_id, purpose) ON invoicing.delivery_invoice TO {runtime};
GRANT SELECT,
    INSERT (delivery_id, claim_token, claimed_by, host),
    UPDATE (marked_at, ended_at, verdict, phase, code, reply, payload_sha256)
    ON invoicing.delivery_attempt TO {runtime};
GRANT SELECT ON invoicing.delivery_event TO {runtime};
-- A hold is released, once.
GRANT SELECT, INSERT (tenant_id, period, reason, actor), UPDATE (released_at, released_by, release_reason)
    ON invoicing.sending_hold TO {runtime};
-- What was asked to be approved, and the one answer: added, and kept.
GRANT SELECT, INSERT (scope, cycle_id, run_id, fingerprint, summary, actor) ON invoicing.approval_request TO {runtime};
GRANT SELECT, INSERT (request_id, delivery_id, fingerprint) ON invoicing.approval_item TO {runtime};
GRANT SELECT, INSERT (request_id, answer, via, actor, reason) ON invoicing.approval_answer TO {runtime};
-- A test message gets its outcome, once.
GRANT SELECT, INSERT (user_id, actor, to_address, template_version_id, parts_sha256, message_id),
    UPDATE (outcome, code, reply, ended_at)
    ON invoicing.trial_message TO {runtime};
GRANT SELECT, INSERT, UPDATE (taken_at, ended_at), DELETE ON invoicing.transmission_slot TO {runtime};

-- What the operator is told.
GRANT SELECT, INSERT (cause, texts, alarm_on), UPDATE (sent_at, attempts, problem)
    ON invoicing.operator_notice TO {runtime};

-- History is hashed by triggers and chained by a function of the owner's.
GRANT SELECT ON invoicing.history_entry, invoicing.history_link, invoicing.history_seal, invoicing.history_shape,
    invoicing.history_horizon TO {runtime};

GRANT SELECT ON invoicing.schema_migration TO {runtime};

-- What generated columns and statements call; guards are called by their triggers, and need no grant.
GRANT EXECUTE ON FUNCTION invoicing.plain(text), invoicing.joined(text[]), invoicing.has_doubtful_address(text[]),
    invoicing.has_words(text, text[]),
    invoicing.may_have_left(bigint), invoicing.state_by_credits(bigint, numeric), invoicing.is_held(bigint, text),
    invoicing.is_held_now(bigint, text),
    invoicing.delivery_fingerprint(bigint, text[], text[], text, bigint, bigint), invoicing.is_approved(bigint, text),
    invoicing.lacks_approval(bigint, text[], text[], text, bigint, bigint) TO {runtime};
GRANT EXECUTE ON FUNCTION invoicing.analyze_month(text), invoicing.hold_tenants(), invoicing.note_history_horizon(),
    invoicing.seal_history(integer) TO {runtime};

-- name: owned_tables
-- Tables of the schema whose owner the login is, or may become: those it could empty, alter and drop.
SELECT count(*) AS count FROM pg_class
WHERE relnamespace = to_regnamespace('invoicing') AND relkind = 'r' AND pg_has_role(relowner, 'MEMBER');

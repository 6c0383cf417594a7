-- A stop of a large month keeps rows locked for seconds. Who waits for such a row has looked whether it is held before the
-- stop was there, unless it looks again.
CREATE FUNCTION invoicing.is_held_now(tenant bigint, month text) RETURNS boolean VOLATILE LANGUAGE sql AS $$
    SELECT EXISTS (
        SELECT FROM invoicing.sending_hold AS h
        WHERE h.period = month AND (h.tenant_id = tenant OR h.tenant_id IS NULL) AND h.released_at IS NULL)
$$;
COMMENT ON FUNCTION invoicing.is_held_now(bigint, text) IS
    'As is_held, by what is committed when it is asked, and not when the statement began: for whoever waited for a row.';

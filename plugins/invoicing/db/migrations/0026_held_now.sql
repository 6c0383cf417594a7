-- A stop of a large month keeps rows locked for seconds. Who waits for such a row has looked whether it is held before the
-- stop was there, unless it looks again.
CREATE FUNCTION invoicing.is_held_now(tenant bigint, month text) RETURNS boolean VOLATILE LANGUAGE plpgsql AS $$
-- In SQL the planner would put is_held in its place, which looks when the statement began.
BEGIN
    RETURN invoicing.is_held(tenant, month);
END $$;
COMMENT ON FUNCTION invoicing.is_held_now(bigint, text) IS
    'As is_held, by what is committed when it is asked, and not when the statement began: for whoever waited for a row.';

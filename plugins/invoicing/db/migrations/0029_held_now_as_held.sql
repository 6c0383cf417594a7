CREATE OR REPLACE FUNCTION invoicing.is_held_now(tenant bigint, month text) RETURNS boolean VOLATILE LANGUAGE plpgsql AS $$
-- In SQL the planner would put is_held in its place, which looks when the statement began.
BEGIN
    RETURN invoicing.is_held(tenant, month);
END $$;

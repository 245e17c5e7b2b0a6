-- Batches of new numbers share a tenant (p_alone false) until their transactions end; who looks at what is there before it writes,
-- erases or replaces has it alone (true). They are served as they come, so that an erasure waits for two batches of an import
-- and not for all of it.
CREATE OR REPLACE FUNCTION shield.take_turn(p_tenant_id int, p_alone boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_alone THEN
        PERFORM pg_advisory_xact_lock(hashtext('shield.token_space'), p_tenant_id);
    ELSE
        PERFORM pg_advisory_xact_lock_shared(hashtext('shield.token_space'), p_tenant_id);
    END IF;
END
$$;

-- Who writes under a tenant's keys holds them (p_change false) until its transaction ends; who adds or retires one waits for
-- all of these (true). So a row is never written under a key that was not the newest when its transaction ended.
CREATE OR REPLACE FUNCTION shield.hold_keys(p_tenant_id int, p_change boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_change THEN
        PERFORM pg_advisory_xact_lock(hashtext('shield.data_keys'), p_tenant_id);
    ELSE
        PERFORM pg_advisory_xact_lock_shared(hashtext('shield.data_keys'), p_tenant_id);
    END IF;
END
$$;

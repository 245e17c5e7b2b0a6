-- A token's call records lose the customer's name in the CRM (alias and reference), those of detached months too; how many
-- did. The caller has opened these with shield.guard_detached.
CREATE OR REPLACE FUNCTION shield.forget_calls(p_tenant_id int, p_token text) RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table regclass;
    v_here int;
    v_all int := 0;
BEGIN
    FOR v_table IN SELECT 'shield.calls'::regclass UNION ALL SELECT d FROM shield.detached_calls() d LOOP
        EXECUTE format('UPDATE %s SET alias = NULL, ref = NULL WHERE tenant_id = $1 AND token = $2
            AND (alias IS NOT NULL OR ref IS NOT NULL)', v_table) USING p_tenant_id, p_token;
        GET DIAGNOSTICS v_here = ROW_COUNT;
        v_all := v_all + v_here;
    END LOOP;
    RETURN v_all;
END
$$;

-- HTTP API: one dial permission of the key's tenant. Verdicts OK, NOT_FOUND and those of shield.api_key.
CREATE OR REPLACE FUNCTION shield_api.api_permission(p_key bytea, p_id uuid)
RETURNS TABLE (verdict text, body jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $$
#variable_conflict use_column
DECLARE
    v_by record;
    v_body jsonb;
BEGIN
    SELECT * INTO v_by FROM shield.api_key(p_key, 'permissions');
    IF v_by.verdict = 'OK' THEN
        v_body := shield.api_permission_body(v_by.tenant, p_id);
    END IF;
    RETURN QUERY SELECT CASE WHEN v_by.verdict = 'OK' AND v_body IS NULL THEN 'NOT_FOUND' ELSE v_by.verdict END, v_body;
END
$$;

-- HTTP API: one call of the key's tenant. Verdicts OK, NOT_FOUND and those of shield.api_key.
CREATE OR REPLACE FUNCTION shield_api.api_call(p_key bytea, p_call uuid)
RETURNS TABLE (verdict text, body jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $$
#variable_conflict use_column
DECLARE
    v_by record;
    v_body jsonb;
BEGIN
    SELECT * INTO v_by FROM shield.api_key(p_key, 'calls:read');
    IF v_by.verdict = 'OK' THEN
        SELECT shield.api_call_body(c) INTO v_body
            FROM shield.calls c WHERE c.id = p_call AND c.tenant_id = v_by.tenant_id;
    END IF;
    RETURN QUERY SELECT CASE WHEN v_by.verdict = 'OK' AND v_body IS NULL THEN 'NOT_FOUND' ELSE v_by.verdict END, v_body;
END
$$;

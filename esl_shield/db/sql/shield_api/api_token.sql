-- HTTP API: one token of the key's tenant by itself or by its alias. Verdicts OK, NOT_FOUND and those of shield.api_key.
CREATE OR REPLACE FUNCTION shield_api.api_token(p_key bytea, p_token text, p_alias text)
RETURNS TABLE (verdict text, body jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $$
#variable_conflict use_column
DECLARE
    v_by record;
    v_token text := p_token;
    v_body jsonb;
BEGIN
    SELECT * INTO v_by FROM shield.api_key(p_key, 'tokens:read');
    IF v_by.verdict = 'OK' THEN
        IF p_alias IS NOT NULL THEN
            SELECT a.token INTO v_token FROM shield.aliases a WHERE a.tenant_id = v_by.tenant_id AND a.alias = p_alias
                AND (p_token IS NULL OR a.token = p_token);
        END IF;
        v_body := shield.api_token_body(v_by.tenant, v_token);
    END IF;
    RETURN QUERY SELECT CASE WHEN v_by.verdict = 'OK' AND v_body IS NULL THEN 'NOT_FOUND' ELSE v_by.verdict END, v_body;
END
$$;

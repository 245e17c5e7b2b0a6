-- HTTP API: blocked tokens of the key's tenant in their order, those after p_after. Verdicts OK and those of shield.api_key;
-- tokens is a list, [] when there are no more.
CREATE OR REPLACE FUNCTION shield_api.api_blocklist(p_key bytea, p_after text, p_limit int)
RETURNS TABLE (verdict text, tokens jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $$
#variable_conflict use_column
DECLARE
    v_by record;
    v_tokens jsonb;
BEGIN
    SELECT * INTO v_by FROM shield.api_key(p_key, 'blocklist');
    IF v_by.verdict = 'OK' THEN
        SELECT coalesce(jsonb_agg(shield.api_blocked_body(v_by.tenant_id, f.token) ORDER BY f.token), '[]') INTO v_tokens
            FROM (SELECT b.token::text FROM shield.blocked_tokens b
                WHERE b.tenant_id = v_by.tenant_id AND (p_after IS NULL OR b.token > p_after)
                ORDER BY b.token LIMIT least(greatest(p_limit, 0), 1000)) f;
    END IF;
    RETURN QUERY SELECT v_by.verdict, v_tokens;
END
$$;

-- HTTP API: nobody calls this token of the key's tenant any more (p_block), or may again. Again it changes nothing. Verdicts
-- OK, NOT_FOUND and those of shield.api_key.
CREATE OR REPLACE FUNCTION shield_api.api_block(p_key bytea, p_token text, p_block boolean)
RETURNS TABLE (verdict text, body jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $$
#variable_conflict use_column
DECLARE
    v_by record;
BEGIN
    SELECT * INTO v_by FROM shield.api_key(p_key, 'blocklist');
    IF v_by.verdict <> 'OK' THEN
        RETURN QUERY SELECT v_by.verdict, NULL::jsonb;
        RETURN;
    END IF;
    IF NOT EXISTS (SELECT FROM shield.tokens k WHERE k.tenant_id = v_by.tenant_id AND k.token = p_token)
            AND NOT EXISTS (SELECT FROM shield.rowless_token(v_by.tenant_id, p_token)) THEN
        RETURN QUERY SELECT 'NOT_FOUND', NULL::jsonb;
        RETURN;
    END IF;
    -- In turn with whoever else says whether the tenant is guarded: the flag and what it stands for change together.
    PERFORM FROM shield.tenants t WHERE t.id = v_by.tenant_id FOR NO KEY UPDATE;
    IF p_block THEN
        INSERT INTO shield.blocked_tokens (tenant_id, token) VALUES (v_by.tenant_id, p_token) ON CONFLICT DO NOTHING;
    ELSE
        DELETE FROM shield.blocked_tokens b WHERE b.tenant_id = v_by.tenant_id AND b.token = p_token;
    END IF;
    IF FOUND THEN
        PERFORM shield.set_guarded(v_by.tenant_id);
        INSERT INTO shield.audit_events (tenant_id, kind, token, detail) VALUES (v_by.tenant_id,
            CASE WHEN p_block THEN 'token.blocked' ELSE 'token.unblocked' END, p_token,
            jsonb_build_object('key', v_by.key_id));
    END IF;
    RETURN QUERY SELECT 'OK', shield.api_blocked_body(v_by.tenant_id, p_token);
END
$$;

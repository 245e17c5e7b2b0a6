-- HTTP API: revoke a token of the key's tenant (p_revoke), or say when it ends (p_expires_at, NULL: never). Verdicts OK,
-- NOT_FOUND and those of shield.api_key.
CREATE OR REPLACE FUNCTION shield_api.api_change_token(p_key bytea, p_token text, p_revoke boolean, p_expires_at timestamptz)
RETURNS TABLE (verdict text, body jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $$
#variable_conflict use_column
DECLARE
    v_by record;
BEGIN
    SELECT * INTO v_by FROM shield.api_key(p_key, 'tokens:write');
    IF v_by.verdict <> 'OK' THEN
        RETURN QUERY SELECT v_by.verdict, NULL::jsonb;
        RETURN;
    END IF;
    IF shield.named_token(v_by.tenant_id, p_token, NULL) IS NULL THEN
        RETURN QUERY SELECT 'NOT_FOUND', NULL::jsonb;
        RETURN;
    END IF;
    UPDATE shield.tokens k SET status = CASE WHEN p_revoke THEN 'revoked' ELSE k.status END,
            expires_at = CASE WHEN p_revoke THEN k.expires_at ELSE p_expires_at END
        WHERE k.tenant_id = v_by.tenant_id AND k.token = p_token
            AND CASE WHEN p_revoke THEN k.status <> 'revoked' ELSE k.expires_at IS DISTINCT FROM p_expires_at END;
    IF FOUND THEN
        INSERT INTO shield.audit_events (tenant_id, kind, token, detail) VALUES (v_by.tenant_id, 'token.changed', p_token,
            CASE WHEN p_revoke THEN jsonb_build_object('status', 'revoked', 'key', v_by.key_id)
                ELSE jsonb_build_object('expires_at', p_expires_at, 'key', v_by.key_id) END);
    END IF;
    RETURN QUERY SELECT 'OK', shield.api_token_body(v_by.tenant, p_token);
END
$$;

-- Seeder: revoke a token (p_status), or set when it ends (p_status NULL; p_expires_at NULL: never). False when unknown.
CREATE OR REPLACE FUNCTION shield_api.set_token(p_tenant text, p_token text, p_status text, p_expires_at timestamptz)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_tenant_id int;
BEGIN
    IF p_status <> 'revoked' THEN
        RAISE EXCEPTION 'a seeder revokes and no more' USING ERRCODE = 'check_violation';
    END IF;
    SELECT t.id INTO v_tenant_id FROM shield.tenants t WHERE t.name = p_tenant;
    UPDATE shield.tokens k SET
            status = coalesce(p_status, k.status),
            expires_at = CASE WHEN p_status IS NULL THEN p_expires_at ELSE k.expires_at END
        WHERE k.tenant_id = v_tenant_id AND k.token = p_token;
    IF NOT FOUND THEN
        INSERT INTO shield.rowless_tokens AS o (tenant_id, token, status, expires_at)
            SELECT v_tenant_id, r.token, coalesce(p_status, r.status), CASE WHEN p_status IS NULL THEN p_expires_at END
            FROM shield.rowless_token(v_tenant_id, p_token) r
        ON CONFLICT (tenant_id, token) DO UPDATE SET status = coalesce(p_status, o.status),
            expires_at = CASE WHEN p_status IS NULL THEN p_expires_at ELSE o.expires_at END;
    END IF;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO shield.audit_events (tenant_id, kind, token, detail) VALUES (v_tenant_id, 'token.changed', p_token,
        CASE WHEN p_status IS NULL THEN jsonb_build_object('expires_at', p_expires_at)
            ELSE jsonb_build_object('status', p_status) END);
    RETURN true;
END
$$;

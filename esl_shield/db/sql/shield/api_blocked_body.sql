-- What the HTTP API shows of a token on the blocklist, or of one that is not.
CREATE OR REPLACE FUNCTION shield.api_blocked_body(p_tenant_id int, p_token text) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_since CONSTANT timestamptz :=
        (SELECT b.blocked_at FROM shield.blocked_tokens b WHERE b.tenant_id = p_tenant_id AND b.token = p_token);
BEGIN
    RETURN jsonb_build_object('token', p_token, 'blocked', v_since IS NOT NULL, 'since', v_since);
END
$$;

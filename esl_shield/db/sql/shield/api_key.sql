-- The key of a request to the HTTP API, if it may now do what the scope names: verdict OK, UNKNOWN_KEY (none, revoked or over)
-- or NO_SCOPE. Which tenant is acted for is decided here, by the key, among those this login sees.
CREATE OR REPLACE FUNCTION shield.api_key(p_key bytea, p_scope text)
RETURNS TABLE (verdict text, tenant_id int, tenant text, key_id int)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_key shield.api_keys;
    v_reason text;
BEGIN
    SELECT k.* INTO v_key FROM shield.api_keys k WHERE k.key_hash = p_key;
    IF NOT FOUND THEN
        RETURN QUERY SELECT 'UNKNOWN_KEY', NULL::int, NULL::text, NULL::int;
        RETURN;
    END IF;
    v_reason := CASE WHEN v_key.revoked_at IS NOT NULL THEN 'revoked' WHEN v_key.expires_at <= now() THEN 'expired'
        WHEN NOT coalesce(p_scope = ANY (v_key.scopes), false) THEN 'scope' END;
    -- A key that is over has no rate of its own to bound what its tries write: one event a minute, the first at once.
    IF v_reason IN ('revoked', 'expired') THEN
        UPDATE shield.api_keys k SET last_used_at = now() WHERE k.id = v_key.id AND (k.last_used_at IS NULL
            OR k.last_used_at < greatest(now() - interval '1 minute', least(k.revoked_at, k.expires_at)));
        IF NOT FOUND THEN
            RETURN QUERY SELECT 'UNKNOWN_KEY', NULL::int, NULL::text, NULL::int;
            RETURN;
        END IF;
    END IF;
    IF v_reason IS NOT NULL THEN
        INSERT INTO shield.audit_events (tenant_id, kind, detail) VALUES (v_key.tenant_id, 'api.refused',
            jsonb_build_object('key', v_key.id, 'reason', v_reason, 'scope', left(p_scope, 32)));
        RETURN QUERY SELECT CASE v_reason WHEN 'scope' THEN 'NO_SCOPE' ELSE 'UNKNOWN_KEY' END, NULL::int, NULL::text, NULL::int;
        RETURN;
    END IF;
    IF v_key.last_used_at IS NULL OR v_key.last_used_at < now() - interval '1 minute' THEN
        UPDATE shield.api_keys k SET last_used_at = now() WHERE k.id = v_key.id;
    END IF;
    RETURN QUERY SELECT 'OK', t.id, t.name::text, v_key.id FROM shield.tenants t WHERE t.id = v_key.tenant_id;
END
$$;

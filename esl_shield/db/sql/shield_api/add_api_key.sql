-- Administrator: let a key use the HTTP API for a tenant; answers its id. With p_replaces it takes over the name, kind and
-- scopes of that key, which ends at p_replaced_ends. NULL when there is no such key to replace. Raises ES002 (no such tenant).
CREATE OR REPLACE FUNCTION shield_api.add_api_key(
    p_tenant text, p_name text, p_kind text, p_hash bytea, p_scopes text[], p_expires_at timestamptz,
    p_replaces int, p_replaced_ends timestamptz
) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_tenant_id int := (SELECT t.id FROM shield.tenants t WHERE t.name = p_tenant);
    v_old shield.api_keys;
    v_id int;
BEGIN
    IF v_tenant_id IS NULL THEN
        RAISE EXCEPTION 'no such tenant' USING ERRCODE = 'ES002';
    END IF;
    IF p_replaces IS NOT NULL THEN
        UPDATE shield.api_keys k SET expires_at = least(k.expires_at, p_replaced_ends)
            WHERE k.id = p_replaces AND k.tenant_id = v_tenant_id AND k.kind = p_kind AND k.revoked_at IS NULL
                AND coalesce(k.expires_at > now(), true)
            RETURNING k.* INTO v_old;
        IF NOT FOUND THEN
            RETURN NULL;
        END IF;
    END IF;
    INSERT INTO shield.api_keys (tenant_id, name, kind, key_hash, scopes, expires_at, replaces)
        VALUES (v_tenant_id, coalesce(v_old.name, p_name), p_kind, p_hash, coalesce(v_old.scopes, p_scopes), p_expires_at,
            p_replaces)
        RETURNING id INTO v_id;
    INSERT INTO shield.audit_events (tenant_id, kind, detail) SELECT v_tenant_id, 'api.key_added', jsonb_strip_nulls(
            jsonb_build_object('key', k.id, 'name', k.name, 'scopes', k.scopes, 'expires_at', k.expires_at,
                'replaces', k.replaces, 'replaced_ends', v_old.expires_at))
        FROM shield.api_keys k WHERE k.id = v_id;
    RETURN v_id;
END
$$;

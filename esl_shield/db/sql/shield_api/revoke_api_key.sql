-- Administrator: refuse a key of the HTTP API from now on. True when it was revoked now, false when before, NULL: no such key.
CREATE OR REPLACE FUNCTION shield_api.revoke_api_key(p_tenant text, p_id int) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_tenant_id int := (SELECT t.id FROM shield.tenants t WHERE t.name = p_tenant);
BEGIN
    UPDATE shield.api_keys k SET revoked_at = now()
        WHERE k.id = p_id AND k.tenant_id = v_tenant_id AND k.revoked_at IS NULL;
    IF NOT FOUND THEN
        RETURN (SELECT false FROM shield.api_keys k WHERE k.id = p_id AND k.tenant_id = v_tenant_id);
    END IF;
    INSERT INTO shield.audit_events (tenant_id, kind, detail)
        VALUES (v_tenant_id, 'api.key_revoked', jsonb_build_object('key', p_id));
    RETURN true;
END
$$;

-- Administrator: store a wrapped key. False when that version exists: a key is never replaced.
CREATE OR REPLACE FUNCTION shield_api.add_key(
    p_tenant_id int, p_purpose text, p_version int, p_wrapped bytea, p_kek_id text
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO shield.data_keys (tenant_id, purpose, version, wrapped, kek_id)
        VALUES (p_tenant_id, p_purpose, p_version, p_wrapped, p_kek_id) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO shield.audit_events (tenant_id, kind, detail) VALUES (p_tenant_id, 'key.added',
        jsonb_build_object('purpose', p_purpose, 'version', p_version, 'kek_id', p_kek_id));
    RETURN true;
END
$$;

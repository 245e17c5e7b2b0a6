-- Administrator: the same key under another KEK, if it is still wrapped as it was read. False when it is not, or is gone.
CREATE OR REPLACE FUNCTION shield_api.rewrap_key(
    p_tenant_id int, p_purpose text, p_version int, p_before bytea, p_wrapped bytea, p_kek_id text
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_kek_id text;
BEGIN
    SELECT d.kek_id INTO v_kek_id FROM shield.data_keys d WHERE d.tenant_id = p_tenant_id AND d.purpose = p_purpose
        AND d.version = p_version AND d.wrapped = p_before FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE shield.data_keys d SET wrapped = p_wrapped, kek_id = p_kek_id
        WHERE d.tenant_id = p_tenant_id AND d.purpose = p_purpose AND d.version = p_version;
    INSERT INTO shield.audit_events (tenant_id, kind, detail) VALUES (p_tenant_id, 'key.rewrapped', jsonb_build_object(
        'purpose', p_purpose, 'version', p_version, 'before', v_kek_id, 'kek_id', p_kek_id));
    RETURN true;
END
$$;

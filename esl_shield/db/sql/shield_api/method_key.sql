-- Resolver: the wrapped key a tenant's ff1 tokens are decrypted with, NULL when it was destroyed.
CREATE OR REPLACE FUNCTION shield_api.method_key(p_tenant_id int, p_version int)
RETURNS TABLE (wrapped bytea, kek_id text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT d.wrapped, d.kek_id FROM shield.data_keys d
        WHERE d.tenant_id = p_tenant_id AND d.purpose = 'ff1' AND d.version = p_version;
    IF FOUND THEN
        INSERT INTO shield.audit_events (tenant_id, kind, detail)
            VALUES (p_tenant_id, 'key.read', jsonb_build_object('purpose', 'ff1', 'version', p_version));
    END IF;
END
$$;

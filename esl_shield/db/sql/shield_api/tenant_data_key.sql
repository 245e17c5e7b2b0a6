-- Resolver, rekeyer: the wrapped key that decrypts a tenant's numbers, NULL when it was destroyed. Never the index key: that
-- one finds a number's token.
CREATE OR REPLACE FUNCTION shield_api.tenant_data_key(p_tenant_id int, p_version int)
RETURNS TABLE (wrapped bytea, kek_id text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT d.wrapped, d.kek_id FROM shield.data_keys d
        WHERE d.tenant_id = p_tenant_id AND d.purpose = 'data' AND d.version = p_version;
    IF FOUND THEN
        INSERT INTO shield.audit_events (tenant_id, kind, detail)
            VALUES (p_tenant_id, 'key.read', jsonb_build_object('purpose', 'data', 'version', p_version));
    END IF;
END
$$;

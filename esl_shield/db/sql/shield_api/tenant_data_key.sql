-- Resolver, rekeyer: the wrapped key that decrypts a tenant's numbers, NULL when it was destroyed. Never the index key: that
-- one finds a number's token.
CREATE OR REPLACE FUNCTION shield_api.tenant_data_key(p_tenant_id int, p_version int)
RETURNS TABLE (wrapped bytea, kek_id text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT k.wrapped, k.kek_id FROM shield.read_key(p_tenant_id, 'data', p_version) k;
END
$$;

-- Resolver: the wrapped key a tenant's ff1 tokens are decrypted with, NULL when it was destroyed.
CREATE OR REPLACE FUNCTION shield_api.method_key(p_tenant_id int, p_version int)
RETURNS TABLE (wrapped bytea, kek_id text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT k.wrapped, k.kek_id FROM shield.read_key(p_tenant_id, 'ff1', p_version) k;
END
$$;

-- Whether these key versions are the tenant's only index key and its newest data key, so that a number is known by one blind
-- index. Tenants without keys in the database have nothing to settle.
CREATE OR REPLACE FUNCTION shield.is_settled(p_tenant_id int, p_index_version int, p_key_version int) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT coalesce(k.index = p_index_version AND k.data = p_key_version, true) AND k.index_before IS NULL
        FROM shield.live_keys(p_tenant_id) k);
END
$$;

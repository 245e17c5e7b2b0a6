-- Scanner: what a search for leaks needs of the tenants this login sees (NULL: of all of them): each index key that
-- look-ups need, wrapped, and the countries their numbers are of (a NULL among them: of any).
CREATE OR REPLACE FUNCTION shield_api.start_leakscan(p_scan uuid, p_tenants text[])
RETURNS TABLE (tenant_id int, tenant text, region text, index_version int, wrapped bytea, kek_id text, countries text[])
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT t.id, t.name, t.region::text, k.version::int, k.wrapped, k.kek_id,
            (SELECT coalesce(array_agg(DISTINCT s.country::text), '{}') FROM shield.tokens s WHERE s.tenant_id = t.id)
        FROM shield.tenants t JOIN shield.data_keys k ON k.tenant_id = t.id AND k.purpose = 'index'
            AND k.retired_at IS NULL AND k.destroyed_at IS NULL
        WHERE p_tenants IS NULL OR t.name = ANY (p_tenants)
        ORDER BY t.name, k.version;
    INSERT INTO shield.audit_events (tenant_id, kind, detail)
        SELECT t.id, e.kind, jsonb_build_object('scan', p_scan, 'purpose', 'leakscan')
        FROM shield.tenants t, (VALUES ('leakscan.started'), ('key.read')) AS e (kind)
        WHERE p_tenants IS NULL OR t.name = ANY (p_tenants);
END
$$;

-- Resolver: under which KEKs the keys that decrypt are wrapped, of the tenants it may see. It is asked at the start and by
-- health checks, so that a resolver with another KEK is known before a call finds out; names of KEKs only, not audited.
CREATE OR REPLACE FUNCTION shield_api.kek_ids()
RETURNS TABLE (kek_id text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT DISTINCT d.kek_id FROM shield.data_keys d WHERE d.purpose IN ('data', 'ff1') AND d.destroyed_at IS NULL ORDER BY 1
$$;

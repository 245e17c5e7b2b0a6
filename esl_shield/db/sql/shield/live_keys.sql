-- A tenant's newest data key and index key, and the index key before it while look-ups still need that one (else NULL).
CREATE OR REPLACE FUNCTION shield.live_keys(p_tenant_id int, OUT data int, OUT index int, OUT index_before int)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    SELECT max(d.version) FILTER (WHERE d.purpose = 'data'), max(d.version) FILTER (WHERE d.purpose = 'index'),
            min(d.version) FILTER (WHERE d.purpose = 'index')
        INTO data, index, index_before
        FROM shield.data_keys d WHERE d.tenant_id = p_tenant_id AND d.retired_at IS NULL AND d.destroyed_at IS NULL;
    index_before := nullif(index_before, index);
END
$$;

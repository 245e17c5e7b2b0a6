-- Scanner: which of up to 1000 blind indexes are a token's. Row i of each array belongs together. Verdicts: FOUND, a row
-- for each token, with its place in the arrays (from 1); WAIT, one row with the milliseconds until the rate allows as
-- many; FORBIDDEN, one row: more than 1000, or a login without a rate; STALE, one row: an index key was retired meanwhile, so
-- that nothing is found by it any more. No row: none is a token's.
CREATE OR REPLACE FUNCTION shield_api.find_leaks(p_scan uuid, p_tenant_ids int[], p_versions int[], p_indexes text[])
RETURNS TABLE (verdict text, ord int, token text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    v_count CONSTANT int := coalesce(cardinality(p_indexes), 0);
    v_wait int;
BEGIN
    IF EXISTS (SELECT FROM shield.data_keys k JOIN unnest(p_tenant_ids, p_versions) AS a (tenant_id, version)
            ON a.tenant_id = k.tenant_id AND a.version = k.version
            WHERE k.purpose = 'index' AND k.retired_at IS NOT NULL) THEN
        RETURN QUERY SELECT 'STALE', NULL::int, NULL::text;
        RETURN;
    END IF;
    v_wait := CASE WHEN v_count BETWEEN 1 AND 1000 THEN shield.take_lookups(v_count) END;
    IF v_wait IS DISTINCT FROM 0 THEN
        INSERT INTO shield.audit_events (tenant_id, kind, detail)
            SELECT t.id, 'leakscan.refused', jsonb_build_object('scan', p_scan, 'asked', v_count,
                'reason', CASE WHEN v_wait IS NULL THEN 'lookup_forbidden' ELSE 'lookup_rate' END)
            FROM shield.tenants t WHERE t.id = ANY (p_tenant_ids);
        RETURN QUERY SELECT CASE WHEN v_wait IS NULL THEN 'FORBIDDEN' ELSE 'WAIT' END, v_wait, NULL::text;
        RETURN;
    END IF;
    RETURN QUERY
    -- Decoded in a step of its own: within the look-up decode(), which is not leakproof, would keep row-level security
    -- from using the index.
    WITH asked AS MATERIALIZED (
        SELECT a.tenant_id, a.version, decode(a.index, 'hex') AS number_index, a.ord
        FROM unnest(p_tenant_ids, p_versions, p_indexes) WITH ORDINALITY AS a (tenant_id, version, index, ord)
    ), found AS MATERIALIZED (
        SELECT a.ord, a.tenant_id, (SELECT n.token::text FROM shield.number_refs n WHERE n.tenant_id = a.tenant_id
            AND n.number_index = a.number_index AND n.index_version = a.version) AS token
        FROM asked a
    ), told AS (
        INSERT INTO shield.audit_events (tenant_id, kind, detail)
            SELECT t.id, 'leakscan.lookup',
                jsonb_build_object('scan', p_scan, 'asked', count(f.ord), 'found', count(f.token))
            FROM found f JOIN shield.tenants t ON t.id = f.tenant_id GROUP BY t.id
    )
    SELECT 'FOUND', f.ord::int, f.token FROM found f WHERE f.token IS NOT NULL;
END
$$;

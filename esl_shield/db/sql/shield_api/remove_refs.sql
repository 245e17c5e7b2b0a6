-- Administrator: removes the blind indexes under a retired index key, a page of at most 10000 in their order, from one on.
-- Answers the last index seen (NULL: there was none any more), how many were seen and how many of them removed.
CREATE OR REPLACE FUNCTION shield_api.remove_refs(p_tenant_id int, p_version int, p_after bytea, p_limit int)
RETURNS TABLE (last bytea, seen int, removed int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
#variable_conflict use_column
-- Joins other than nested loops are off: the planner would read the whole table for a page.
BEGIN
    IF NOT EXISTS (SELECT FROM shield.data_keys d WHERE d.tenant_id = p_tenant_id AND d.purpose = 'index'
            AND d.version = p_version AND d.retired_at IS NOT NULL) THEN
        RAISE EXCEPTION 'the index key is not retired' USING ERRCODE = 'ES008';
    END IF;
    WITH page AS MATERIALIZED (
        SELECT n.number_index, n.index_version FROM shield.number_refs n
        WHERE n.tenant_id = p_tenant_id AND n.number_index > p_after
        ORDER BY n.number_index LIMIT least(p_limit, 10000)
    ), gone AS (
        DELETE FROM shield.number_refs n USING page p WHERE n.tenant_id = p_tenant_id
            AND n.number_index = p.number_index AND n.index_version = p_version AND p.index_version = p_version RETURNING 1
    )
    SELECT (SELECT p.number_index FROM page p ORDER BY p.number_index DESC LIMIT 1), (SELECT count(*) FROM page),
        (SELECT count(*) FROM gone) INTO last, seen, removed;
    IF removed > 0 THEN
        INSERT INTO shield.audit_events (tenant_id, kind, detail) VALUES (p_tenant_id, 'refs.removed',
            jsonb_build_object('version', p_version, 'removed', removed));
    END IF;
    RETURN NEXT;
END
$$;

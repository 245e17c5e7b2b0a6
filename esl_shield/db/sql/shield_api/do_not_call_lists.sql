-- Resolver: the lists that hold for a tenant's calls, its own and those that hold for all, each with the index keys its entries
-- may be under; a list without entries is not there.
CREATE OR REPLACE FUNCTION shield_api.do_not_call_lists(p_tenant_id int) RETURNS TABLE (tenant_id int, version int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT d.tenant_id, d.version::int FROM shield.tenants t JOIN shield.data_keys d ON d.tenant_id = t.id
        WHERE (t.id = p_tenant_id OR t.list_for_all) AND d.purpose = 'index' AND d.retired_at IS NULL AND d.destroyed_at IS NULL
        AND EXISTS (SELECT FROM shield.do_not_call n WHERE n.tenant_id = t.id)
        ORDER BY d.tenant_id, d.version;
END
$$;

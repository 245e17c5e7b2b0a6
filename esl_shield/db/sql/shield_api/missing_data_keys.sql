-- Resolver: which of the data keys it has in memory are destroyed, or gone, so that it forgets them; pairs of tenant and version.
CREATE OR REPLACE FUNCTION shield_api.missing_data_keys(p_tenant_ids int[], p_versions int[])
RETURNS TABLE (tenant_id int, version int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT h.tenant_id, h.version FROM unnest(p_tenant_ids, p_versions) AS h (tenant_id, version)
        WHERE NOT EXISTS (SELECT FROM shield.data_keys d WHERE d.tenant_id = h.tenant_id AND d.purpose = 'data'
            AND d.version = h.version AND d.wrapped IS NOT NULL);
END
$$;

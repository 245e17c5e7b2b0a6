-- Resolver: which of the ff1 keys it has in memory no prefix uses any more, so that it forgets them; tenant and version.
CREATE OR REPLACE FUNCTION shield_api.missing_method_keys(p_tenant_ids int[], p_versions int[])
RETURNS TABLE (tenant_id int, version int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT h.tenant_id, h.version FROM unnest(p_tenant_ids, p_versions) AS h (tenant_id, version)
        WHERE NOT EXISTS (SELECT FROM shield.token_prefixes p JOIN shield.data_keys d ON d.tenant_id = p.tenant_id
            AND d.purpose = 'ff1' AND d.version = p.key_version AND d.wrapped IS NOT NULL
            WHERE p.tenant_id = h.tenant_id AND p.key_version = h.version AND p.retired_at IS NULL);
END
$$;

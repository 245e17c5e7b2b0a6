-- HTTP API: the country whose numbers the people of the key's tenant write (NULL: no one country). Verdicts of shield.api_key.
CREATE OR REPLACE FUNCTION shield_api.api_tenant(p_key bytea, p_scope text)
RETURNS TABLE (verdict text, region text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT k.verdict, (SELECT nullif(t.region, '001')::text FROM shield.tenants t WHERE t.id = k.tenant_id)
        FROM shield.api_key(p_key, p_scope) k;
END
$$;

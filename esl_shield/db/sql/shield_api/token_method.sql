-- Resolver: how a token that has no row is decrypted and which numbers it may stand for; no rows for any other token. It is
-- asked after the permit was redeemed, which wrote the audit event.
CREATE OR REPLACE FUNCTION shield_api.token_method(p_tenant_id int, p_token text)
RETURNS TABLE (tenant text, prefix text, method text, length int, key_version int, countries text[], ranges text[],
    line_types text[])
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT t.name, p.prefix::text, p.method::text, p.length, p.key_version::int, p.countries, p.ranges,
            p.line_types
        FROM shield.token_prefixes p JOIN shield.tenants t ON t.id = p.tenant_id
        WHERE p.tenant_id = p_tenant_id AND p.retired_at IS NULL AND starts_with(p_token, p.prefix)
        AND length(p_token) = p.length;
END
$$;

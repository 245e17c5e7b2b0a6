-- Seeder: one token by itself or by its alias; both given, both must fit.
CREATE OR REPLACE FUNCTION shield_api.token_info(p_tenant text, p_token text, p_alias text)
RETURNS TABLE (token text, aliases text[], status text, expires_at timestamptz, country text, region text,
    time_zone text, line_type text, labels jsonb, created_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT k.token::text,
            coalesce((SELECT array_agg(a.alias::text ORDER BY a.created_at, a.alias) FROM shield.aliases a
                WHERE a.tenant_id = k.tenant_id AND a.token = k.token
                    AND a.lot = CASE WHEN k.lot IS NULL THEN -1 ELSE k.lot END), '{}'),
            k.status::text, k.expires_at, k.country::text, k.region::text, k.time_zone::text, k.line_type::text,
            k.labels::jsonb, k.created_at
        FROM shield.tenants t
        LEFT JOIN shield.aliases n ON n.tenant_id = t.id AND n.alias = p_alias
        JOIN shield.tokens k ON k.tenant_id = t.id AND k.token = coalesce(p_token, n.token)
        WHERE t.name = p_tenant AND (p_alias IS NULL OR n.token = k.token);
    IF NOT FOUND AND p_alias IS NULL THEN
        RETURN QUERY SELECT r.token, '{}'::text[], r.status, r.expires_at, NULL::text, NULL::text, NULL::text, NULL::text,
                '{}'::jsonb, NULL::timestamptz
            FROM shield.tenants t CROSS JOIN LATERAL shield.rowless_token(t.id, p_token) r WHERE t.name = p_tenant;
    END IF;
END
$$;

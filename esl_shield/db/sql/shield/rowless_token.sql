-- A token that needs no row because its prefix says how it is decrypted, with what was said of it; no rows for any other.
-- A guess at such a token may reach somebody, so without dial permissions there is none.
CREATE OR REPLACE FUNCTION shield.rowless_token(p_tenant_id int, p_token text)
RETURNS TABLE (token text, status text, expires_at timestamptz, per_day int)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT p_token, coalesce(r.status::text, 'active'), r.expires_at, r.per_day::int
        FROM shield.token_prefixes p
        LEFT JOIN shield.rowless_tokens r ON r.tenant_id = p.tenant_id AND r.token = p_token
        WHERE p.tenant_id = p_tenant_id AND p.retired_at IS NULL AND starts_with(p_token, p.prefix)
        AND length(p_token) = p.length AND p_token ~ '^[0-9]+$' AND shield.permission_required(p_tenant_id);
END
$$;

-- Seeder: the tokens that rows of an import name by themselves or by their alias (both given, both must fit); NULL for a
-- name of none.
CREATE OR REPLACE FUNCTION shield_api.find_tokens(p_tenant_id int, p_tokens text[], p_aliases text[])
RETURNS TABLE (ord int, token text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT n.at::int, (SELECT k.token::text FROM shield.tokens k
            WHERE k.tenant_id = p_tenant_id AND k.token = CASE WHEN n.alias IS NULL THEN n.token
                ELSE (SELECT a.token FROM shield.aliases a WHERE a.tenant_id = p_tenant_id AND a.alias = n.alias
                    AND (n.token IS NULL OR a.token = n.token)) END)
        FROM unnest(p_tokens, p_aliases) WITH ORDINALITY AS n (token, alias, at) ORDER BY n.at;
END
$$;

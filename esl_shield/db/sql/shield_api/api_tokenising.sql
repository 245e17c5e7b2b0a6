-- Seeder, asked over HTTP: whether the key may have numbers tokenised, and for which tenant. Verdicts of shield.api_key.
CREATE OR REPLACE FUNCTION shield_api.api_tokenising(p_key bytea)
RETURNS TABLE (verdict text, tenant text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT k.verdict, k.tenant FROM shield.api_key(p_key, 'tokens:write') k;
END
$$;

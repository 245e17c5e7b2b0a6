-- What a worker is told of a call it may make, written in this very transaction; what the tenant shows of it, and the token
-- where that is not known of this call.
CREATE OR REPLACE FUNCTION shield.dial_facts(p_call uuid)
RETURNS TABLE (ref text, shown text, alias text, country text, region text, time_zone text, token text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT c.ref::text,
            coalesce(CASE t.shows WHEN 'token' THEN NULL WHEN 'alias' THEN c.alias WHEN 'ref' THEN c.ref ELSE t.shows END,
                c.token)::text,
            c.alias::text, k.country::text, k.region::text, k.time_zone::text, c.token::text
        FROM shield.calls c JOIN shield.tenants t ON t.id = c.tenant_id
        LEFT JOIN shield.tokens k ON k.tenant_id = c.tenant_id AND k.token = c.token
        WHERE c.id = p_call AND c.started_at = now();
END
$$;

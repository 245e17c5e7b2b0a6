-- Worker: authorize_call, and of an allowed call what the worker shows and routes by. p_alias is what was dialled where it
-- is no token: only a tenant that requires dial permissions lets its agents dial an alias, for anybody else it is not
-- looked up. It is stored nowhere. Nothing but the verdict is filled on a refusal.
CREATE OR REPLACE FUNCTION shield_api.authorize_dial(
    p_call uuid, p_domain text, p_agent text, p_token text, p_dialled_class text, p_dialled_length int,
    p_permit_hash bytea, p_gateway text, p_delivery text, p_sip_call_id text, p_channel uuid, p_alias text DEFAULT NULL
) RETURNS TABLE (
    verdict text, ref text, shown text, alias text, country text, region text, time_zone text, token text
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    v_token text := p_token;
BEGIN
    IF p_token IS NULL AND p_alias IS NOT NULL THEN
        SELECT a.token INTO v_token FROM shield.tenants t
            JOIN shield.aliases a ON a.tenant_id = t.id AND a.alias = p_alias
            WHERE t.domain = lower(p_domain) AND t.requires_permission;
    END IF;
    RETURN QUERY SELECT a.* FROM shield.authorize(p_call, p_domain, p_agent, v_token, p_dialled_class, p_dialled_length,
        p_permit_hash, p_gateway, p_delivery, p_sip_call_id, p_channel, NULL) a;
END
$$;

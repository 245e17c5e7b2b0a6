-- HTTP API: calls of the key's tenant, newest first, that fit every filter given and come after the one p_after_at and
-- p_after_id name. Verdicts OK and those of shield.api_key; calls is a list, [] when there are no more.
CREATE OR REPLACE FUNCTION shield_api.api_calls(
    p_key bytea, p_agent text, p_token text, p_alias text, p_ref text, p_states text[], p_from timestamptz, p_to timestamptz,
    p_after_at timestamptz, p_after_id uuid, p_limit int
) RETURNS TABLE (verdict text, calls jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $$
#variable_conflict use_column
DECLARE
    v_by record;
    v_calls jsonb;
BEGIN
    p_agent := lower(p_agent);
    SELECT * INTO v_by FROM shield.api_key(p_key, 'calls:read');
    IF v_by.verdict = 'OK' THEN
        SELECT coalesce(jsonb_agg(shield.api_call_body(p) ORDER BY p.started_at DESC, p.id DESC), '[]') INTO v_calls
            FROM (SELECT c.* FROM shield.calls c
                WHERE c.tenant_id = v_by.tenant_id AND c.started_at >= p_from AND c.started_at < p_to
                    AND (p_agent IS NULL OR c.agent = p_agent) AND (p_token IS NULL OR c.token = p_token)
                    AND (p_alias IS NULL OR c.alias = p_alias) AND (p_ref IS NULL OR c.ref = p_ref) AND (p_states IS NULL OR c.state = ANY (p_states))
                    AND (p_after_at IS NULL OR (c.started_at, c.id) < (p_after_at, p_after_id))
                ORDER BY c.started_at DESC, c.id DESC LIMIT least(greatest(p_limit, 0), 1000)) p;
    END IF;
    RETURN QUERY SELECT v_by.verdict, v_calls;
END
$$;

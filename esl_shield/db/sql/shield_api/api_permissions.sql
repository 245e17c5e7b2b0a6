-- HTTP API: dial permissions of the key's tenant, newest first, that fit every filter given and come after the one
-- p_after_at and p_after_id name. Verdicts OK and those of shield.api_key; permissions is a list, [] when there are no more.
CREATE OR REPLACE FUNCTION shield_api.api_permissions(
    p_key bytea, p_token text, p_agent text, p_ref text, p_campaign text, p_state text, p_after_at timestamptz,
    p_after_id uuid, p_limit int
) RETURNS TABLE (verdict text, permissions jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $$
#variable_conflict use_column
DECLARE
    v_by record;
    v_permissions jsonb;
BEGIN
    SELECT * INTO v_by FROM shield.api_key(p_key, 'permissions');
    IF v_by.verdict = 'OK' THEN
        SELECT coalesce(jsonb_agg(shield.api_permission_body(v_by.tenant, f.id) ORDER BY f.granted_at DESC, f.id DESC), '[]')
            INTO v_permissions
            FROM (SELECT p.id, p.granted_at FROM dba.dial_permissions p
                WHERE p.tenant = v_by.tenant AND (p_token IS NULL OR p.token = p_token)
                    AND (p_agent IS NULL OR p.agent = p_agent) AND (p_ref IS NULL OR p.ref = p_ref)
                    AND (p_campaign IS NULL OR p.campaign = p_campaign) AND (p_state IS NULL OR p.state = p_state)
                    AND (p_after_at IS NULL OR (p.granted_at, p.id) < (p_after_at, p_after_id))
                ORDER BY p.granted_at DESC, p.id DESC LIMIT least(greatest(p_limit, 0), 1000)) f;
    END IF;
    RETURN QUERY SELECT v_by.verdict, v_permissions;
END
$$;

-- The dial permission this agent may dial this token with, now or at p_at: one for the agent before one for all, what ends first before
-- what ends later. NULL when there is none.
DROP FUNCTION IF EXISTS shield.find_permission(int, text, text);
CREATE OR REPLACE FUNCTION shield.find_permission(p_tenant_id int, p_token text, p_agent text, p_at timestamptz DEFAULT NULL)
RETURNS uuid
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_now CONSTANT timestamptz := coalesce(p_at, clock_timestamp());
BEGIN
    RETURN (SELECT p.id FROM shield.dial_permissions p
        WHERE p.tenant_id = p_tenant_id AND p.token = p_token AND p.valid_until > v_now AND p.valid_from <= v_now
        AND p.revoked_at IS NULL AND (p.calls IS NULL OR p.used < p.calls) AND (p.agent IS NULL OR p.agent = p_agent)
        ORDER BY p.agent NULLS LAST, p.valid_until, p.id LIMIT 1);
END
$$;

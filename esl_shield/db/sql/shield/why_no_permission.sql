-- Why find_permission found none: what comes nearest to fitting, as a word for the audit event.
DROP FUNCTION IF EXISTS shield.why_no_permission(int, text, text);
CREATE OR REPLACE FUNCTION shield.why_no_permission(p_tenant_id int, p_token text, p_agent text, p_at timestamptz DEFAULT NULL)
RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_now CONSTANT timestamptz := coalesce(p_at, clock_timestamp());
BEGIN
    RETURN coalesce((SELECT CASE
            WHEN p.agent <> p_agent THEN 'permission_of_another'
            WHEN p.revoked_at IS NOT NULL THEN 'permission_revoked'
            WHEN p.valid_until <= v_now THEN 'permission_expired'
            WHEN p.valid_from > v_now THEN 'permission_early'
            ELSE 'permission_used_up' END
        FROM shield.dial_permissions p WHERE p.tenant_id = p_tenant_id AND p.token = p_token
        ORDER BY (p.agent <> p_agent) IS TRUE, p.revoked_at IS NOT NULL, p.valid_until DESC, p.id LIMIT 1),
        'permission_missing');
END
$$;

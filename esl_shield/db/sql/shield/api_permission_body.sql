-- What the HTTP API shows of a dial permission, NULL when the tenant has no such.
CREATE OR REPLACE FUNCTION shield.api_permission_body(p_tenant text, p_id uuid) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT jsonb_build_object('id', p.id, 'token', p.token, 'agent', p.agent, 'from', p.valid_from,
            'until', p.valid_until, 'calls', p.calls, 'used', p.used, 'campaign', p.campaign, 'ref', p.ref, 'state', p.state,
            'granted_at', p.granted_at, 'revoked_at', p.revoked_at)
        FROM dba.dial_permissions p WHERE p.tenant = p_tenant AND p.id = p_id);
END
$$;

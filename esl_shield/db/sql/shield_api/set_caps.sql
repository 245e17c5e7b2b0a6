-- Administrator: a tenant's caps; NULL is no cap. False when the tenant is unknown.
CREATE OR REPLACE FUNCTION shield_api.set_caps(
    p_tenant text, p_token_per_day int, p_agent_per_hour int, p_tenant_per_day int
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_id int;
BEGIN
    UPDATE shield.tenants SET token_per_day = p_token_per_day, agent_per_hour = p_agent_per_hour,
        tenant_per_day = p_tenant_per_day WHERE name = p_tenant RETURNING id INTO v_id;
    IF v_id IS NULL THEN
        RETURN false;
    END IF;
    INSERT INTO shield.audit_events (tenant_id, kind, detail) VALUES (v_id, 'tenant.caps_set', jsonb_build_object(
        'token_per_day', p_token_per_day, 'agent_per_hour', p_agent_per_hour, 'tenant_per_day', p_tenant_per_day));
    RETURN true;
END
$$;

-- Worker: from p_at on this agent talks to the customer, on this leg. False unless the call is this login's and answered, the
-- agent a name, and the leg not among those who talk already; a call keeps at most 100 of them.
CREATE OR REPLACE FUNCTION shield_api.call_joined(p_call uuid, p_agent text, p_channel uuid, p_at timestamptz)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_call record;
    v_before int;
BEGIN
    p_agent := lower(p_agent);
    SELECT c.id, c.started_at, c.tenant_id INTO v_call FROM shield.calls c
        WHERE c.id = p_call AND c.login = session_user::text AND c.state = 'ANSWERED'
        AND c.started_at BETWEEN now() - interval '7 days' AND now() + interval '2 days' FOR UPDATE;
    SELECT coalesce(max(g.position), 0) INTO v_before FROM shield.call_agents g
        WHERE g.call = v_call.id AND g.call_started_at = v_call.started_at;
    IF v_call.id IS NULL OR p_agent IS NULL OR p_agent !~ '^[^[:cntrl:]]{1,64}$' OR v_before >= 100
            OR EXISTS (SELECT FROM shield.call_agents g WHERE g.call = v_call.id
                AND g.call_started_at = v_call.started_at AND g.channel = p_channel AND g.until_at IS NULL) THEN
        RETURN false;
    END IF;
    INSERT INTO shield.call_agents (call, call_started_at, tenant_id, position, agent, channel, from_at)
        VALUES (v_call.id, v_call.started_at, v_call.tenant_id, v_before + 1, p_agent, p_channel, coalesce(p_at, now()));
    RETURN true;
END
$$;

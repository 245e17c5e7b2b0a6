-- Worker: the customer answered, and talks to the agent who called; after a transfer to a token, to the customer who was
-- transferred. False unless the call is this login's and waits for an answer.
CREATE OR REPLACE FUNCTION shield_api.call_answered(p_call uuid, p_gateway text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_done boolean;
    v_call record;
BEGIN
    UPDATE shield.calls c SET state = 'ANSWERED', gateway = coalesce(p_gateway, c.gateway), answered_at = now()
        WHERE c.id = p_call AND c.login = session_user::text AND c.started_at BETWEEN now() - interval '7 days' AND now() + interval '2 days'
        AND c.state = 'AUTHORIZED' RETURNING c.started_at, c.hooked INTO v_call;
    v_done := FOUND;
    IF v_done THEN
        INSERT INTO shield.call_agents (call, call_started_at, tenant_id, position, agent, channel, from_at)
            SELECT c.id, c.started_at, c.tenant_id, 1, c.agent, c.channel, c.answered_at FROM shield.calls c
            WHERE c.id = p_call AND c.started_at BETWEEN now() - interval '7 days' AND now() + interval '2 days'
            AND c.referred_by IS NULL;
        IF v_call.hooked THEN
            PERFORM shield.post_call(p_call, v_call.started_at, 'call.answered');
        END IF;
    END IF;
    RETURN v_done;
END
$$;

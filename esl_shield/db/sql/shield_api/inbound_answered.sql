-- Worker: an agent answered a customer's call; NULL when it is not known which. False unless the call came in, is this
-- login's and waits for an answer.
CREATE OR REPLACE FUNCTION shield_api.inbound_answered(p_call uuid, p_agent text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_call record;
BEGIN
    p_agent := lower(p_agent);
    UPDATE shield.calls c SET state = 'ANSWERED', answered_at = now(),
            agent = CASE WHEN p_agent ~ '^[^[:cntrl:]]{1,64}$' THEN p_agent END
        WHERE c.id = p_call AND c.login = session_user::text AND c.direction = 'inbound'
        AND c.started_at BETWEEN now() - interval '7 days' AND now() + interval '2 days' AND c.state = 'AUTHORIZED'
        RETURNING c.started_at, c.hooked INTO v_call;
    IF v_call.hooked THEN
        PERFORM shield.post_call(p_call, v_call.started_at, 'call.answered');
    END IF;
    RETURN v_call.started_at IS NOT NULL;
END
$$;

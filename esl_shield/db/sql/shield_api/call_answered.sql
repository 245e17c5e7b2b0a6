-- Worker: the customer answered. False unless the call is this login's and waits for an answer.
CREATE OR REPLACE FUNCTION shield_api.call_answered(p_call uuid, p_gateway text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    UPDATE shield.calls c SET state = 'ANSWERED', gateway = coalesce(p_gateway, c.gateway), answered_at = now()
        WHERE c.id = p_call AND c.login = session_user::text AND c.started_at BETWEEN now() - interval '7 days' AND now() + interval '1 hour'
        AND c.state = 'AUTHORIZED';
    RETURN FOUND;
END
$$;

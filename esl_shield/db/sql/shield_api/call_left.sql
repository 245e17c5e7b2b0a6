-- Worker: whoever talked to the customer on this leg stopped at p_at. False unless the call is this login's, unfinished, and
-- somebody did.
CREATE OR REPLACE FUNCTION shield_api.call_left(p_call uuid, p_channel uuid, p_at timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    UPDATE shield.call_agents g SET until_at = greatest(coalesce(p_at, now()), g.from_at)
        FROM shield.calls c
        WHERE c.id = p_call AND c.login = session_user::text AND c.state = 'ANSWERED'
        AND c.started_at BETWEEN now() - interval '7 days' AND now() + interval '2 days'
        AND g.call = c.id AND g.call_started_at = c.started_at AND g.channel = p_channel AND g.until_at IS NULL;
    RETURN FOUND;
END
$$;

-- Worker: these customers answered, and each talks to the agent who called; after a transfer to a token, to the customer who
-- was transferred. Answers how many were news: a call must be this login's and wait for an answer. Each row holds call and
-- gateway (NULL: as it was).
CREATE OR REPLACE FUNCTION shield_api.calls_answered(p_answers jsonb) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_told record;
    v_done int := 0;
    v_hooked boolean;
BEGIN
    -- In the order in which everybody who changes several calls at once takes them.
    FOR v_told IN SELECT t.call, t.gateway, (SELECT c.started_at FROM shield.calls c WHERE c.id = t.call
                AND c.started_at BETWEEN now() - interval '7 days' AND now() + interval '2 days') AS started_at
            FROM jsonb_to_recordset(p_answers) AS t(call uuid, gateway text) ORDER BY started_at, t.call LOOP
        WITH done AS (
            UPDATE shield.calls c SET state = 'ANSWERED', gateway = coalesce(v_told.gateway, c.gateway), answered_at = now()
            WHERE c.id = v_told.call AND c.started_at = v_told.started_at AND c.login = session_user::text
            AND c.state = 'AUTHORIZED'
            RETURNING c.id, c.started_at, c.tenant_id, c.agent, c.channel, c.answered_at, c.referred_by,
                c.hooked
        ), talking AS (
            INSERT INTO shield.call_agents (call, call_started_at, tenant_id, position, agent, channel, from_at)
                SELECT d.id, d.started_at, d.tenant_id, 1, d.agent, d.channel, d.answered_at FROM done d
                WHERE d.referred_by IS NULL
        )
        SELECT v_done + count(*), bool_or(d.hooked) INTO v_done, v_hooked FROM done d;
        IF v_hooked THEN
            PERFORM shield.post_call(v_told.call, v_told.started_at, 'call.answered');
        END IF;
    END LOOP;
    RETURN v_done;
END
$$;

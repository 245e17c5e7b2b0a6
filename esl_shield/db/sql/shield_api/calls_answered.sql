-- Worker: these customers answered, and each talks to the agent who called; after a transfer to a token, to the customer who
-- was transferred. Answers how many were news: a call must be this login's and wait for an answer. Each row holds call and
-- gateway (NULL: as it was).
CREATE OR REPLACE FUNCTION shield_api.calls_answered(p_answers jsonb) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_told record;
    v_done int := 0;
BEGIN
    -- In the order in which everybody who changes several calls at once takes them. What is read here of a call never changes.
    FOR v_told IN SELECT t.call, t.gateway, o.* FROM jsonb_to_recordset(p_answers) AS t(call uuid, gateway text),
            LATERAL (SELECT c.started_at, c.tenant_id, c.agent, c.channel, c.referred_by, c.hooked FROM shield.calls c
                WHERE c.id = t.call AND c.started_at BETWEEN now() - interval '7 days' AND now() + interval '2 days'
                LIMIT 1) o
            ORDER BY o.started_at, t.call LOOP
        UPDATE shield.calls c SET state = 'ANSWERED', gateway = coalesce(v_told.gateway, c.gateway), answered_at = now()
            WHERE c.id = v_told.call AND c.started_at = v_told.started_at AND c.login = session_user::text
            AND c.state = 'AUTHORIZED';
        CONTINUE WHEN NOT FOUND;
        v_done := v_done + 1;
        IF v_told.referred_by IS NULL THEN
            INSERT INTO shield.call_agents (call, call_started_at, tenant_id, position, agent, channel, from_at)
                VALUES (v_told.call, v_told.started_at, v_told.tenant_id, 1, v_told.agent, v_told.channel, now());
        END IF;
        IF v_told.hooked THEN
            PERFORM shield.post_call(v_told.call, v_told.started_at, 'call.answered');
        END IF;
    END LOOP;
    RETURN v_done;
END
$$;

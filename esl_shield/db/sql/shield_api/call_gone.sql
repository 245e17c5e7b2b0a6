-- Reaper: FreeSWITCH has no leg of this call any more, for p_gone_s seconds now; a leg was last seen p_seen_s seconds ago
-- (NULL: never). Its permits end at once. Its record is ended by FreeSWITCH's own records if these have come; after
-- p_wait_s without them as LOST, with no time of its end but one it was over by. A restart is waited for no longer: of the
-- calls it ended FreeSWITCH writes no record. A worker that lives has a minute to say how the call ended.
-- Verdicts: as settle_call's, LOST, and LIVES: not yet, its worker reports.
CREATE OR REPLACE FUNCTION shield_api.call_gone(
    p_call uuid, p_gone_s double precision, p_seen_s double precision, p_wait_s double precision, p_restarted boolean
) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_call record;
    v_verdict text;
    v_waited boolean;
    v_before CONSTANT timestamptz := clock_timestamp() - make_interval(secs => greatest(p_gone_s, 0));
BEGIN
    SELECT c.id, c.started_at, c.tenant_id, c.agent, c.token, c.state, c.delivery, c.login, c.worker, c.hooked INTO v_call
        FROM shield.calls c WHERE c.id = p_call
        AND c.started_at BETWEEN now() - interval '8 days' AND now() + interval '2 days' FOR UPDATE;
    IF v_call.id IS NULL THEN
        RETURN 'UNKNOWN';
    ELSIF v_call.state IN ('AUTHORIZED', 'ANSWERED') AND p_gone_s < 60
            AND NOT shield.worker_is_gone(v_call.login, v_call.worker) THEN
        RETURN 'LIVES';
    END IF;
    DELETE FROM shield.permits m WHERE m.call = p_call;
    v_waited := p_restarted OR p_gone_s >= p_wait_s;
    v_verdict := shield.settle_call(p_call, v_call.started_at, v_waited OR v_call.delivery = 'direct',
        clock_timestamp() - make_interval(secs => p_seen_s));
    IF v_verdict <> 'WAITING' OR NOT v_waited OR v_call.state NOT IN ('AUTHORIZED', 'ANSWERED') THEN
        RETURN v_verdict;
    END IF;
    UPDATE shield.calls c SET state = 'LOST', ended_by = 'reaper', ended_before = v_before,
            attempts = greatest(c.attempts, c.permits)
        WHERE c.id = p_call AND c.started_at = v_call.started_at;
    INSERT INTO shield.audit_events (tenant_id, kind, agent, token, call, detail) VALUES (v_call.tenant_id,
        'call.lost', v_call.agent, v_call.token, p_call, jsonb_build_object('was', v_call.state, 'reason',
            CASE WHEN p_restarted THEN 'switch_restarted' ELSE 'leg_gone' END, 'ended_before', v_before));
    IF v_call.hooked THEN
        PERFORM shield.post_call(p_call, v_call.started_at, 'call.ended');
    END IF;
    RETURN 'LOST';
END
$$;

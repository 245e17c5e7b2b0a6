-- Worker: the call is over. False unless it is this login's and unfinished, or ended by the reaper as one nobody saw end. Its
-- permits end with it; a few that others left behind are cleared on the way, so that the table stays small without a
-- process of its own.
CREATE OR REPLACE FUNCTION shield_api.finish_call(
    p_call uuid, p_state text, p_hangup_cause text, p_sip_code int, p_gateway text, p_attempts int,
    p_ringing_at timestamptz, p_answered_at timestamptz, p_ended_at timestamptz
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_done boolean;
    v_call record;
BEGIN
    IF p_state IN ('AUTHORIZED', 'ANSWERED') THEN
        RAISE EXCEPTION 'a call does not finish in this state' USING ERRCODE = 'check_violation';
    END IF;
    UPDATE shield.calls c SET
            state = p_state,
            hangup_cause = CASE WHEN p_hangup_cause ~ '^[A-Z][A-Z0-9_]{0,63}$' AND p_hangup_cause !~ '[0-9]{5}'
                THEN p_hangup_cause END,
            sip_code = CASE WHEN p_sip_code BETWEEN 100 AND 699 THEN p_sip_code END,
            gateway = coalesce(p_gateway, c.gateway),
            attempts = least(greatest(coalesce(p_attempts, 0), 0), 100),
            ringing_at = p_ringing_at,
            answered_at = coalesce(p_answered_at, c.answered_at),
            ended_at = coalesce(p_ended_at, now()),
            ended_by = NULL,
            ended_before = NULL
        WHERE c.id = p_call AND c.login = session_user::text AND c.started_at BETWEEN now() - interval '7 days' AND now() + interval '2 days'
        AND (c.state IN ('AUTHORIZED', 'ANSWERED') OR (c.state = 'LOST' AND c.ended_by = 'reaper' AND p_state <> 'LOST'))
        RETURNING c.started_at, c.hooked INTO v_call;
    v_done := FOUND;
    IF v_done THEN
        -- The first agent's time is the answer's own, not that of its statement; whoever still talks stops now.
        UPDATE shield.call_agents g SET from_at = CASE g.position WHEN 1 THEN coalesce(p_answered_at, g.from_at)
                    ELSE g.from_at END,
                until_at = coalesce(g.until_at, greatest(coalesce(p_ended_at, now()),
                    CASE g.position WHEN 1 THEN coalesce(p_answered_at, g.from_at) ELSE g.from_at END))
            WHERE g.call = p_call AND g.call_started_at BETWEEN now() - interval '7 days' AND now() + interval '2 days';
        DELETE FROM shield.permits m WHERE m.call = p_call;
        DELETE FROM shield.permits m WHERE m.permit_hash IN (
            SELECT s.permit_hash FROM shield.permits s WHERE s.expires_at < now() - interval '1 minute'
            ORDER BY s.expires_at LIMIT 4 FOR UPDATE SKIP LOCKED);
        IF v_call.hooked THEN
            PERFORM shield.post_call(p_call, v_call.started_at, 'call.ended');
        END IF;
    END IF;
    RETURN v_done;
END
$$;

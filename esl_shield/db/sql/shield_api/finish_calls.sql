-- Worker: these calls are over. Answers how many were news: a call must be this login's and unfinished, or ended by the
-- reaper as one nobody saw end. Their permits end with them; a few that others left behind are cleared on the way, so that
-- the table stays small without a process of its own. Each row holds call, state, cause, sip_code, gateway (NULL: as it
-- was), attempts, ringing_at, answered_at and ended_at (NULL: now).
CREATE OR REPLACE FUNCTION shield_api.finish_calls(p_ends jsonb) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    v_told record;
    v_done uuid[] := '{}';
    v_hooked boolean;
BEGIN
    -- In the order in which everybody who changes several calls at once takes them.
    FOR v_told IN SELECT t.*, (SELECT c.started_at FROM shield.calls c WHERE c.id = t.call
                AND c.started_at BETWEEN now() - interval '7 days' AND now() + interval '2 days') AS started_at
            FROM jsonb_to_recordset(p_ends) AS t(call uuid, state text, cause text, sip_code int, gateway text,
                attempts int, ringing_at timestamptz, answered_at timestamptz, ended_at timestamptz)
            ORDER BY started_at, t.call LOOP
        IF v_told.state IN ('AUTHORIZED', 'ANSWERED') THEN
            RAISE EXCEPTION 'a call does not finish in this state' USING ERRCODE = 'check_violation';
        END IF;
        UPDATE shield.calls c SET
            state = v_told.state,
            hangup_cause = CASE WHEN length(v_told.cause) <= 64 AND v_told.cause ~ '^[A-Z][A-Z0-9_]*$' AND v_told.cause !~ '[0-9]{5}'
                THEN v_told.cause END,
            sip_code = CASE WHEN v_told.sip_code BETWEEN 100 AND 699 THEN v_told.sip_code END,
            gateway = coalesce(v_told.gateway, c.gateway),
            attempts = least(greatest(coalesce(v_told.attempts, 0), 0), 100),
            ringing_at = v_told.ringing_at,
            answered_at = coalesce(v_told.answered_at, c.answered_at),
            ended_at = coalesce(v_told.ended_at, now()),
            ended_by = NULL,
            ended_before = NULL
            WHERE c.id = v_told.call AND c.started_at = v_told.started_at AND c.login = session_user::text
            AND (c.state IN ('AUTHORIZED', 'ANSWERED')
                OR (c.state = 'LOST' AND c.ended_by = 'reaper' AND v_told.state <> 'LOST'))
            RETURNING c.hooked INTO v_hooked;
        CONTINUE WHEN NOT FOUND;
        v_done := v_done || v_told.call;
        -- The first agent's time is the answer's own, not that of its statement; whoever still talks stops now.
        UPDATE shield.call_agents g SET from_at = CASE g.position WHEN 1 THEN coalesce(v_told.answered_at, g.from_at)
                    ELSE g.from_at END,
                until_at = coalesce(g.until_at, greatest(coalesce(v_told.ended_at, now()),
                    CASE g.position WHEN 1 THEN coalesce(v_told.answered_at, g.from_at) ELSE g.from_at END))
            WHERE g.call = v_told.call AND g.call_started_at = v_told.started_at;
        IF v_hooked THEN
            PERFORM shield.post_call(v_told.call, v_told.started_at, 'call.ended');
        END IF;
    END LOOP;
    -- Most permits are redeemed and gone: to look is cheaper than to delete none.
    IF v_done <> '{}' AND (EXISTS (SELECT FROM shield.permits m WHERE m.call = ANY (v_done))
            OR (SELECT s.expires_at FROM shield.permits s ORDER BY s.expires_at LIMIT 1) < now() - interval '1 minute') THEN
        DELETE FROM shield.permits m WHERE m.call = ANY (v_done);
        DELETE FROM shield.permits m WHERE m.permit_hash IN (
            SELECT s.permit_hash FROM shield.permits s WHERE s.expires_at < now() - interval '1 minute'
            ORDER BY s.expires_at LIMIT 4 * cardinality(v_done) FOR UPDATE SKIP LOCKED);
    END IF;
    RETURN cardinality(v_done);
END
$$;

-- Intake: FreeSWITCH's record of one leg, our fields of it. Answers a row for each call the leg belongs to, which is none
-- for other people's legs: nothing is kept of them. A record that comes twice changes nothing. The leg that calls is known
-- by its UUID, a customer's by the leg it was made for (p_originator).
-- Verdicts: as settle_call's, and DUPLICATE.
CREATE OR REPLACE FUNCTION shield_api.take_cdr(
    p_channel uuid, p_originator uuid, p_other uuid, p_state text, p_cause text, p_sip_code int,
    p_ringing_at timestamptz, p_answered_at timestamptz, p_bridged_at timestamptz, p_ended_at timestamptz
) RETURNS TABLE (call uuid, verdict text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_call record;
BEGIN
    IF p_state NOT IN ('BUSY', 'NO_ANSWER', 'CANCELLED', 'REJECTED', 'UNREACHABLE', 'FAILED', 'REFUSED') THEN
        RAISE EXCEPTION 'an unanswered call does not end in this state' USING ERRCODE = 'check_violation';
    END IF;
    FOR v_call IN SELECT c.id, c.started_at, c.tenant_id FROM shield.calls c
            WHERE c.channel IN (p_channel, p_originator) AND c.state <> 'REFUSED'
            AND (c.channel = p_channel OR c.customer_channel IS NULL OR c.customer_channel = p_channel)
            AND c.started_at BETWEEN p_ended_at - interval '7 days' AND p_ended_at + interval '1 minute'
            AND p_ended_at < clock_timestamp() + interval '1 minute'
            ORDER BY c.started_at LIMIT 10 LOOP
        INSERT INTO shield.cdr_legs (call, call_started_at, tenant_id, channel, other_channel, state, cause, sip_code,
                ringing_at, answered_at, bridged_at, ended_at)
            VALUES (v_call.id, v_call.started_at, v_call.tenant_id, p_channel, p_other, p_state,
                CASE WHEN p_cause ~ '^[A-Z][A-Z0-9_]{0,63}$' AND p_cause !~ '[0-9]{5}' THEN p_cause END,
                CASE WHEN p_sip_code BETWEEN 100 AND 699 THEN p_sip_code END,
                p_ringing_at, p_answered_at, p_bridged_at, p_ended_at)
            ON CONFLICT (call, channel) DO NOTHING;
        RETURN QUERY SELECT v_call.id, CASE WHEN FOUND
            THEN shield.settle_call(v_call.id, v_call.started_at, false, NULL) ELSE 'DUPLICATE' END;
    END LOOP;
END
$$;

-- What the HTTP API and webhooks show of a call: never the number a customer has.
CREATE OR REPLACE FUNCTION shield.api_call_body(p_call shield.calls) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN jsonb_build_object('id', p_call.id, 'direction', p_call.direction, 'state', p_call.state, 'agent', p_call.agent,
        'agents', (SELECT coalesce(array_agg(g.agent::text ORDER BY g.position), '{}') FROM shield.call_agents g
            WHERE g.call = p_call.id AND g.call_started_at = p_call.started_at),
        'token', p_call.token, 'alias', p_call.alias, 'ref', p_call.ref, 'referred_by', p_call.referred_by, 'channel', p_call.channel, 'gateway', p_call.gateway,
        'hangup_cause', p_call.hangup_cause, 'sip_code', p_call.sip_code, 'attempts', p_call.attempts,
        'started_at', p_call.started_at, 'ringing_at', p_call.ringing_at, 'answered_at', p_call.answered_at,
        'ended_at', p_call.ended_at, 'ended_before', p_call.ended_before,
        'ended_by', CASE WHEN p_call.state NOT IN ('AUTHORIZED', 'ANSWERED') THEN coalesce(p_call.ended_by, 'worker') END,
        'talk_s', shield.talk_s(p_call.answered_at, p_call.ended_at));
END
$$;

-- Notes for webhooks what became of a call: its record as it is now, without what only we need. Statements on one call wait
-- for each other, so a call's events have their order.
CREATE OR REPLACE FUNCTION shield.post_call(p_call uuid, p_started_at timestamptz, p_kind text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM shield.post_event(c.tenant_id, c.id, p_kind, jsonb_strip_nulls(jsonb_build_object(
        'call', c.id, 'direction', c.direction, 'state', c.state, 'agent', c.agent, 'token', c.token, 'alias', c.alias,
        'gateway', c.gateway, 'attempts', c.attempts, 'hangup_cause', c.hangup_cause, 'sip_code', c.sip_code,
        'started_at', c.started_at, 'ringing_at', c.ringing_at, 'answered_at', c.answered_at, 'ended_at', c.ended_at,
        'ended_before', c.ended_before, 'talk_s', shield.talk_s(c.answered_at, c.ended_at), 'referred_by', c.referred_by, 'ref', c.ref,
        'agents', (SELECT jsonb_agg(g.agent ORDER BY g.position) FROM shield.call_agents g
            WHERE g.call = c.id AND g.call_started_at = c.started_at),
        'ended_by', CASE WHEN c.state NOT IN ('AUTHORIZED', 'ANSWERED', 'REFUSED') THEN coalesce(c.ended_by, 'worker') END)))
        FROM shield.calls c WHERE c.id = p_call AND c.started_at = p_started_at;
END
$$;

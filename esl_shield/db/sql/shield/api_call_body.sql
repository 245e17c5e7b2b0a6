-- What the HTTP API shows of a call of a tenant, NULL when there is no such: never the number a customer has.
CREATE OR REPLACE FUNCTION shield.api_call_body(p_tenant_id int, p_call uuid, p_started_at timestamptz) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT jsonb_build_object('id', c.id, 'direction', c.direction, 'state', c.state, 'agent', c.agent,
            'agents', coalesce(c.agents, '{}'), 'token', c.token, 'alias', c.alias, 'channel', c.channel,
            'gateway', c.gateway, 'hangup_cause', c.hangup_cause, 'sip_code', c.sip_code, 'attempts', c.attempts,
            'started_at', c.started_at, 'ringing_at', c.ringing_at, 'answered_at', c.answered_at, 'ended_at', c.ended_at,
            'ended_before', c.ended_before, 'ended_by', c.ended_by, 'talk_s', c.talk_s)
        FROM dba.calls c WHERE c.id = p_call AND c.started_at = p_started_at AND c.tenant_id = p_tenant_id);
END
$$;

CREATE OR REPLACE VIEW dba.calls AS
SELECT c.id, t.name AS tenant, c.agent, c.token, c.alias, c.dialled_class, c.dialled_length, c.channel, c.gateway,
    c.delivery, c.state, c.hangup_cause, c.sip_code, c.attempts, c.permits, c.started_at, c.ringing_at, c.answered_at,
    c.ended_at, c.talk_s, c.login, c.tenant_id, c.direction, c.did,
    c.customer_channel, c.referred_by,
    (SELECT array_agg(g.agent::text ORDER BY g.position) FROM shield.call_agents g
        WHERE g.call = c.id AND g.call_started_at = c.started_at) AS agents
FROM shield.calls c JOIN shield.tenants t ON t.id = c.tenant_id;
COMMENT ON VIEW dba.calls IS 'call detail records';

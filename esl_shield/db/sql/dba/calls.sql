CREATE OR REPLACE VIEW dba.calls AS
SELECT c.id, t.name AS tenant, c.agent, c.token, c.alias, c.dialled_class, c.dialled_length, c.channel, c.gateway,
    c.delivery, c.state, c.hangup_cause, c.sip_code, c.attempts, c.permits, c.started_at, c.ringing_at, c.answered_at,
    c.ended_at,
    CASE WHEN c.ended_at >= c.answered_at THEN extract(epoch FROM (c.ended_at - c.answered_at))::numeric(12, 3) END AS talk_s,
    c.login, c.tenant_id, c.direction, c.did,
    c.customer_channel, c.referred_by,
    (SELECT array_agg(g.agent::text ORDER BY g.position) FROM shield.call_agents g
        WHERE g.call = c.id AND g.call_started_at = c.started_at) AS agents,
    CASE WHEN c.state NOT IN ('AUTHORIZED', 'ANSWERED') THEN coalesce(c.ended_by, 'worker') END AS ended_by,
    c.ended_before, c.cdr, c.worker,
    c.ref, c.permission
FROM shield.calls c JOIN shield.tenants t ON t.id = c.tenant_id;
COMMENT ON VIEW dba.calls IS 'call detail records';
COMMENT ON COLUMN dba.calls.id IS 'the call''s id, drawn by the worker';
COMMENT ON COLUMN dba.calls.agent IS 'the agent who called or was reached first; NULL: not authenticated, or nobody yet';
COMMENT ON COLUMN dba.calls.talk_s IS 'seconds from answer to end; NULL: not answered, or in flight';
COMMENT ON COLUMN dba.calls.agents IS 'everybody who talked to the customer, in order; NULL: nobody did';
COMMENT ON COLUMN dba.calls.ended_by IS 'who wrote the end: worker saw it, cdr FreeSWITCH''s record tells it, reaper nobody knows; NULL: in flight';

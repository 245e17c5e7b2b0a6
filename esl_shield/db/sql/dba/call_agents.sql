CREATE OR REPLACE VIEW dba.call_agents AS
SELECT t.name AS tenant, g.call, g.position, g.agent, g.channel, g.from_at, g.until_at,
    extract(epoch FROM (g.until_at - g.from_at))::numeric(12, 3) AS talk_s, g.tenant_id
FROM shield.call_agents g JOIN shield.tenants t ON t.id = g.tenant_id;
COMMENT ON VIEW dba.call_agents IS 'who talked to the customer of a call, from when until when';
COMMENT ON COLUMN dba.call_agents.talk_s IS 'seconds the agent talked to the customer; NULL: still does, or the worker was lost';

CREATE OR REPLACE VIEW dba.clicks AS
SELECT k.channel, t.name AS tenant, k.agent, k.token, k.ref, k.state, k.cause, k.call, k.asked_by, k.asked_at
FROM shield.clicks k JOIN shield.tenants t ON t.id = k.tenant_id;
COMMENT ON VIEW dba.clicks IS 'calls asked for by click, for 7 days, and what became of them';

CREATE OR REPLACE VIEW dba.agent_locks AS
SELECT t.name AS tenant, l.agent, l.locked_at, l.reason
FROM shield.agent_locks l JOIN shield.tenants t ON t.id = l.tenant_id;
COMMENT ON VIEW dba.agent_locks IS 'agents whose every call is refused until a steward unlocks them, and what for';

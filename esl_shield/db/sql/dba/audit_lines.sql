CREATE OR REPLACE VIEW dba.audit_lines AS
SELECT e.id, e.xid, (extract(epoch FROM e.at) * 1000000)::bigint AS at_us, e.tenant_id, e.kind::text AS kind, e.login,
    e.agent::text AS agent, e.token::text AS token, e.call, e.detail::text AS detail
FROM shield.audit_events e;
COMMENT ON VIEW dba.audit_lines IS 'events in the columns and the order they are sealed in (docs/audit-format.md)';
COMMENT ON COLUMN dba.audit_lines.at_us IS 'when its transaction began, microseconds since 1970 UTC';

CREATE OR REPLACE VIEW dba.audit_events AS
SELECT e.id, e.at, t.name AS tenant, e.kind, e.login, e.agent, e.token, e.call, e.detail
FROM shield.audit_events e LEFT JOIN shield.tenants t ON t.id = e.tenant_id;
COMMENT ON VIEW dba.audit_events IS 'who did what; events without a tenant show only to logins that see all tenants';
COMMENT ON COLUMN dba.audit_events.id IS 'unique; not quite in order of time, with gaps';
COMMENT ON COLUMN dba.audit_events.tenant IS 'whose event it is; NULL: nobody''s, or the tenant is unknown';

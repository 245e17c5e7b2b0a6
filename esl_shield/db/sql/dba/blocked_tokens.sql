CREATE OR REPLACE VIEW dba.blocked_tokens AS
SELECT t.name AS tenant, b.token, b.blocked_at, b.blocked_by
FROM shield.blocked_tokens b JOIN shield.tenants t ON t.id = b.tenant_id;
COMMENT ON VIEW dba.blocked_tokens IS 'tokens nobody calls until they are taken off the blocklist';

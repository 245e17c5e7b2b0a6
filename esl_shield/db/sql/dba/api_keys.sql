CREATE OR REPLACE VIEW dba.api_keys AS
SELECT k.id, t.name AS tenant, k.name, k.kind, k.scopes::text[] AS scopes,
    CASE WHEN k.revoked_at IS NOT NULL THEN 'revoked' WHEN k.expires_at <= now() THEN 'expired' ELSE 'active' END AS state,
    k.created_at, k.created_by, k.expires_at, k.revoked_at, k.last_used_at, k.replaces
FROM shield.api_keys k JOIN shield.tenants t ON t.id = k.tenant_id;
COMMENT ON VIEW dba.api_keys IS 'who may use the HTTP API for which tenant; the keys themselves are nowhere';
COMMENT ON COLUMN dba.api_keys.state IS 'active, revoked or expired';
COMMENT ON COLUMN dba.api_keys.id IS 'the key''s id, which events name';
COMMENT ON COLUMN dba.api_keys.name IS 'what the tenant calls it';

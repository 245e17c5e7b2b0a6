CREATE OR REPLACE VIEW dba.dial_permissions AS
SELECT p.id, t.name AS tenant, p.token, p.agent, p.valid_from, p.valid_until, p.calls, p.used, p.campaign, p.ref,
    p.granted_by, p.granted_at, p.revoked_by, p.revoked_at,
    CASE WHEN p.revoked_at IS NOT NULL THEN 'revoked' WHEN p.valid_until <= clock_timestamp() THEN 'expired'
        WHEN p.calls <= p.used THEN 'used_up' WHEN p.valid_from > clock_timestamp() THEN 'early' ELSE 'valid' END AS state
FROM shield.dial_permissions p JOIN shield.tenants t ON t.id = p.tenant_id;
COMMENT ON VIEW dba.dial_permissions IS 'who may dial which token, when and how often';
COMMENT ON COLUMN dba.dial_permissions.state IS 'valid, early, used_up, expired or revoked';
COMMENT ON COLUMN dba.dial_permissions.id IS 'the permission''s id, drawn by who granted it';

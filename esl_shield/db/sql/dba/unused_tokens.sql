CREATE OR REPLACE VIEW dba.unused_tokens AS
SELECT t.name AS tenant, k.token, k.status, k.expires_at, k.created_at, now() - k.created_at AS unused_for
FROM shield.tokens k JOIN shield.tenants t ON t.id = k.tenant_id
WHERE NOT EXISTS (SELECT FROM shield.calls c WHERE c.tenant_id = k.tenant_id AND c.token = k.token)
AND NOT EXISTS (SELECT FROM shield.token_usage u WHERE u.tenant_id = k.tenant_id AND u.token = k.token);
COMMENT ON VIEW dba.unused_tokens IS 'tokens nobody ever called or called from: no row in the attached months of calls, none in the counters of caps. A token without a cap whose calls left with a detached month counts as unused. Cost: an index look-up per token and month, so give it a LIMIT or a tenant; all of 100 million take hours';
COMMENT ON COLUMN dba.unused_tokens.status IS 'active or revoked';
COMMENT ON COLUMN dba.unused_tokens.unused_for IS 'time since the token was made';
COMMENT ON COLUMN dba.unused_tokens.token IS 'the digits agents dial';

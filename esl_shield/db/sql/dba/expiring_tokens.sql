CREATE OR REPLACE VIEW dba.expiring_tokens AS
SELECT t.name AS tenant, k.token, k.expires_at, k.expires_at - now() AS expires_in, k.expires_at <= now() AS expired
FROM shield.tokens k JOIN shield.tenants t ON t.id = k.tenant_id
WHERE k.status = 'active' AND k.expires_at IS NOT NULL;
COMMENT ON VIEW dba.expiring_tokens IS 'active tokens that have an end, past or to come. Cost: reads every token, whatever the condition: there is no index on expires_at';
COMMENT ON COLUMN dba.expiring_tokens.expires_at IS 'since then, or from then on, calls to it are refused';
COMMENT ON COLUMN dba.expiring_tokens.expires_in IS 'time left; negative: over for so long';
COMMENT ON COLUMN dba.expiring_tokens.expired IS 'whether it is over';

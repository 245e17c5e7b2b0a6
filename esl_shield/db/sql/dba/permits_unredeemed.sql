CREATE OR REPLACE VIEW dba.permits_unredeemed AS
SELECT t.name AS tenant, p.call, p.agent, p.token, p.gateway, p.delivery, p.expires_at, p.expires_at <= now() AS expired
FROM shield.permits p JOIN shield.tenants t ON t.id = p.tenant_id;
COMMENT ON VIEW dba.permits_unredeemed IS 'permits minted and not exchanged, not even their hashes. One that is expired is a call that rang nowhere: its gateway, edge or resolver was away. Cost: reads the table, which expiry keeps small; a crash empties it';
COMMENT ON COLUMN dba.permits_unredeemed.expired IS 'whether it is too late to redeem it';

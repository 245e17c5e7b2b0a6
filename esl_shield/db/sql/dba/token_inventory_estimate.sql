CREATE OR REPLACE VIEW dba.token_inventory_estimate AS
SELECT t.name AS tenant,
    CASE WHEN k.status = 'active' AND k.expires_at <= now() THEN 'expired' ELSE k.status::text END AS status,
    k.key_version::int AS key_version, 100 * count(*) AS tokens_estimate, count(*) AS tokens_seen
FROM shield.tokens k TABLESAMPLE SYSTEM (1) JOIN shield.tenants t ON t.id = k.tenant_id GROUP BY 1, 2, 3;
COMMENT ON VIEW dba.token_inventory_estimate IS 'tokens by tenant, status and key version, from one page in a hundred drawn anew each time. Cost: a hundredth of dba.token_inventory. Below a million tokens too few pages are drawn, often none: use dba.token_inventory';
COMMENT ON COLUMN dba.token_inventory_estimate.status IS 'active, revoked, or expired: active past its expires_at';
COMMENT ON COLUMN dba.token_inventory_estimate.tokens_estimate IS 'how many tokens, estimated: a hundred times tokens_seen';
COMMENT ON COLUMN dba.token_inventory_estimate.tokens_seen IS 'how many of them were in the sample: fewer than 1000 make a rough estimate';

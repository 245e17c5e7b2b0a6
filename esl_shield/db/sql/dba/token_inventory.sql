CREATE OR REPLACE VIEW dba.token_inventory AS
SELECT t.name AS tenant,
    CASE WHEN k.status = 'active' AND k.expires_at <= now() THEN 'expired' ELSE k.status::text END AS status,
    k.key_version::int AS key_version,
    CASE WHEN k.created_at > now() - interval '30 days' THEN 'under 30 days'
        WHEN k.created_at > now() - interval '90 days' THEN '30 to 90 days'
        WHEN k.created_at > now() - interval '1 year' THEN '90 days to 1 year' ELSE 'over 1 year' END AS age,
    count(*) AS tokens, min(k.created_at) AS oldest, max(k.created_at) AS newest
FROM shield.tokens k JOIN shield.tenants t ON t.id = k.tenant_id GROUP BY 1, 2, 3, 4;
COMMENT ON VIEW dba.token_inventory IS 'tokens by tenant, status, key version and age, exactly. Cost: reads every token of the database once, minutes for 100 million; dba.tenants.tokens is a kept count, dba.token_inventory_estimate a sample';
COMMENT ON COLUMN dba.token_inventory.status IS 'active, revoked, or expired: active past its expires_at';
COMMENT ON COLUMN dba.token_inventory.age IS 'since the token was made: under 30 days, 30 to 90 days, 90 days to 1 year, over 1 year';
COMMENT ON COLUMN dba.token_inventory.tokens IS 'how many tokens, counted';
COMMENT ON COLUMN dba.token_inventory.oldest IS 'when the oldest of them was made';
COMMENT ON COLUMN dba.token_inventory.newest IS 'when the newest of them was made';

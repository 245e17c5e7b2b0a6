CREATE OR REPLACE VIEW dba.tenants AS
SELECT t.id, t.name, t.domain, t.token_prefix, t.token_length, t.region, s.tokens, t.created_at,
    t.token_per_day, t.agent_per_hour, t.tenant_per_day
FROM shield.tenants t LEFT JOIN shield.token_space s ON s.tenant_id = t.id;
COMMENT ON VIEW dba.tenants IS 'tenants, how many tokens each has, and its caps';

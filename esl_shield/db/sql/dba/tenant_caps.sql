CREATE OR REPLACE VIEW dba.tenant_caps AS
SELECT t.name AS tenant, t.token_per_day, t.agent_per_hour, t.tenant_per_day,
    coalesce((SELECT sum(u.used) FROM shield.tenant_usage u WHERE u.tenant_id = t.id
        AND u.day >= (clock_timestamp() AT TIME ZONE 'UTC')::date), 0)::int AS calls_today
FROM shield.tenants t;
COMMENT ON VIEW dba.tenant_caps IS 'a tenant''s caps (null: none), its calls of this UTC day as far as a cap counts them';
COMMENT ON COLUMN dba.tenant_caps.calls_today IS 'calls of this UTC day as far as a cap counts them';

CREATE OR REPLACE VIEW dba.policies AS
SELECT t.name AS tenant, p.hours::text AS hours, p.time_zone::text AS time_zone, coalesce(p.closed_days, '{}') AS closed_days,
    p.gap_s::int AS gap_s, p.agent_per_day::int AS agent_per_day, t.wrong_dials, t.wrong_dials_s::int AS wrong_dials_s,
    p.changed_at, p.changed_by
FROM shield.tenants t LEFT JOIN shield.policies p ON p.tenant_id = t.id;
COMMENT ON VIEW dba.policies IS 'when and how often each tenant''s customers may be called, and when an agent is locked; NULL: no such rule';

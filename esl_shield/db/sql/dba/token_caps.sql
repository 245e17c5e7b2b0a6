CREATE OR REPLACE VIEW dba.token_caps AS
SELECT t.name AS tenant, k.token, k.per_day::int AS own_per_day, t.token_per_day AS tenant_per_day,
    nullif(coalesce(k.per_day, t.token_per_day), 2147483647) AS per_day,
    CASE WHEN u.since > clock_timestamp() - interval '24 hours' THEN u.used ELSE 0 END AS used,
    CASE WHEN u.since > clock_timestamp() - interval '24 hours' THEN u.since END AS since
FROM (SELECT s.tenant_id, s.token, s.per_day FROM shield.tokens s
    UNION ALL SELECT o.tenant_id, o.token, o.per_day FROM shield.rowless_tokens o) k
JOIN shield.tenants t ON t.id = k.tenant_id
LEFT JOIN shield.token_usage u ON u.tenant_id = k.tenant_id AND u.token = k.token;
COMMENT ON VIEW dba.token_caps IS 'calls a token may get in 24 hours (per_day; null: no cap), of its own or its tenant''s, and has got';
COMMENT ON COLUMN dba.token_caps.token IS 'the digits agents dial';
COMMENT ON COLUMN dba.token_caps.own_per_day IS 'the token''s own cap; NULL: its tenant''s; the largest int: none';
COMMENT ON COLUMN dba.token_caps.tenant_per_day IS 'its tenant''s cap on each token; NULL: none';
COMMENT ON COLUMN dba.token_caps.per_day IS 'the cap that counts; NULL: none';
COMMENT ON COLUMN dba.token_caps.used IS 'calls in the window that is open, 0 without one';
COMMENT ON COLUMN dba.token_caps.since IS 'when that window opened; NULL: none is open';

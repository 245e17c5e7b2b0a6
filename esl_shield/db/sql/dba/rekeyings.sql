CREATE OR REPLACE VIEW dba.rekeyings AS
SELECT t.name AS tenant, r.work::text, r.version::int, s.tokens, r.changed, r.started_at, r.moved_at, r.finished_at
FROM shield.rekeyings r JOIN shield.tenants t ON t.id = r.tenant_id
LEFT JOIN shield.token_space s ON s.tenant_id = r.tenant_id;
COMMENT ON VIEW dba.rekeyings IS 'how far tenants'' rows are brought to their newest keys';

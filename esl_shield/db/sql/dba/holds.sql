CREATE OR REPLACE VIEW dba.holds AS
SELECT t.name AS tenant, h.token, h.case_id, h.reason, h.login, h.held_at, h.released_by, h.released_at, h.release_reason
FROM shield.holds h JOIN shield.tenants t ON t.id = h.tenant_id;
COMMENT ON VIEW dba.holds IS 'legal holds, standing (released_at is null) and released';

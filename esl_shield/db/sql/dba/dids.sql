CREATE OR REPLACE VIEW dba.dids AS
SELECT d.did::text, t.name AS tenant, d.destinations::text[] AS destinations, d.enabled, d.masks_per_minute, d.created_at
FROM shield.dids d JOIN shield.tenants t ON t.id = d.tenant_id;
COMMENT ON VIEW dba.dids IS 'the tenants'' own numbers and whom their callers reach';

CREATE OR REPLACE VIEW dba.label_masks AS
SELECT t.name AS tenant, m.label, m.pattern
FROM shield.label_masks m JOIN shield.tenants t ON t.id = m.tenant_id;
COMMENT ON VIEW dba.label_masks IS 'how each label of a tenant is shown; one that is not here is hidden';

CREATE OR REPLACE VIEW dba.keys AS
SELECT t.name AS tenant, d.purpose, d.version, d.kek_id, d.created_at
FROM shield.data_keys d JOIN shield.tenants t ON t.id = d.tenant_id;
COMMENT ON VIEW dba.keys IS 'which keys there are and which key-encryption key wraps them; never the keys';

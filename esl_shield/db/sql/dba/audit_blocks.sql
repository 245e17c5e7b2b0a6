CREATE OR REPLACE VIEW dba.audit_blocks AS
SELECT b.number, b.header, b.signature, b.entries, b.leaves, b.sealed_at, b.last_xid, b.last_id FROM shield.audit_blocks b;
COMMENT ON VIEW dba.audit_blocks IS 'sealed blocks; only logins that see all tenants see any';

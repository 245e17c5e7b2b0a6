CREATE OR REPLACE VIEW dba.audit_code AS
SELECT encode(c.hash, 'hex') AS hash, c.manifest, c.first_block FROM shield.audit_code c;
COMMENT ON VIEW dba.audit_code IS 'functions, rights and policies as blocks found them';

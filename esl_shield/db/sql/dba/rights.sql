CREATE OR REPLACE VIEW dba.rights AS
SELECT g.rolname::text AS role, a.privilege_type AS "right", o.kind, o.name
FROM (
    SELECT 'schema' AS kind, n.nspname::text AS name, n.nspacl AS acl FROM pg_namespace n
        WHERE n.nspname IN ('shield', 'shield_api', 'dba')
    UNION ALL SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'S' THEN 'sequence' ELSE 'table' END,
            n.nspname || '.' || c.relname, c.relacl
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname IN ('shield', 'shield_api', 'dba')
    UNION ALL SELECT 'function', n.nspname || '.' || f.proname, f.proacl
        FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace WHERE n.nspname IN ('shield', 'shield_api', 'dba')
) o CROSS JOIN LATERAL aclexplode(o.acl) a LEFT JOIN pg_roles g ON g.oid = a.grantee
WHERE g.rolname IS DISTINCT FROM 'shield_owner';
COMMENT ON VIEW dba.rights IS 'who has which right on what, the owner''s left out. Cost: none, reads the catalogue';
COMMENT ON COLUMN dba.rights.role IS 'the group role, or whoever somebody granted a right by hand; NULL: everybody';
COMMENT ON COLUMN dba.rights."right" IS 'SELECT, EXECUTE, USAGE and so on';
COMMENT ON COLUMN dba.rights.kind IS 'schema, table, view, sequence or function';
COMMENT ON COLUMN dba.rights.name IS 'the object with its schema';

"""The questions `catalog` asks PostgreSQL's catalog; they change nothing and read no row of our tables."""

from __future__ import annotations

from esl_shield.db.schema import OWNER, SCHEMAS

SCHEMAS_THERE = f"""
SELECT count(*) FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner
WHERE n.nspname IN {SCHEMAS} AND r.rolname = '{OWNER}'
"""

CONNECTION = """
SELECT session_user::text, (SELECT s.ssl FROM pg_stat_ssl s WHERE s.pid = pg_backend_pid()),
    coalesce(NOT (inet_server_addr() <<= inet '127.0.0.0/8' OR inet_server_addr() = inet '::1'), false)
"""

FUNCTIONS = """
SELECT n.nspname || '.' || p.proname, p.prosrc, p.prosecdef, p.proconfig, r.rolname
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_roles r ON r.oid = p.proowner
WHERE n.nspname = ANY (%(schemas)s)
"""

RIGHTS = """
SELECT coalesce((SELECT r.rolname FROM pg_roles r WHERE r.oid = a.grantee), 'PUBLIC')::text, a.privilege_type, o.name
FROM (
    SELECT p.proowner AS owner, n.nspname || '.' || p.proname AS name,
        coalesce(p.proacl, acldefault('f', p.proowner)) AS acl
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = ANY (%(schemas)s)
    UNION ALL
    SELECT c.relowner, n.nspname || '.' || c.relname, c.relacl
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = ANY (%(schemas)s)
    UNION ALL
    SELECT c.relowner, n.nspname || '.' || c.relname || '.' || t.attname, t.attacl
    FROM pg_attribute t JOIN pg_class c ON c.oid = t.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = ANY (%(schemas)s)
    UNION ALL
    SELECT n.nspowner, n.nspname, n.nspacl FROM pg_namespace n WHERE n.nspname = ANY (%(schemas)s)
) o, aclexplode(o.acl) a
WHERE a.grantee <> o.owner
"""

TABLES = """
SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity, r.rolname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_roles r ON r.oid = c.relowner
WHERE n.nspname = 'shield' AND c.relkind IN ('r', 'p') AND c.relname <> 'alembic_version'
"""

FOREIGN = """
SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_roles r ON r.oid = c.relowner WHERE n.nspname = ANY (%(schemas)s) AND r.rolname <> %(owner)s
UNION ALL
SELECT n.nspname FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner
    WHERE n.nspname = ANY (%(schemas)s) AND r.rolname <> %(owner)s
"""

TRIGGERS = """
SELECT 'trigger ' || t.tgname || ' on ' || n.nspname || '.' || c.relname
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT t.tgisinternal AND n.nspname = ANY (%(schemas)s)
UNION ALL
SELECT 'rule ' || w.rulename || ' on ' || n.nspname || '.' || c.relname
FROM pg_rewrite w JOIN pg_class c ON c.oid = w.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE w.rulename <> '_RETURN' AND n.nspname = ANY (%(schemas)s)
UNION ALL
SELECT 'event trigger ' || e.evtname FROM pg_event_trigger e WHERE e.evtenabled <> 'D'
UNION ALL
SELECT 'publication ' || p.pubname FROM pg_publication p WHERE p.puballtables OR EXISTS (
    SELECT FROM pg_publication_rel r JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE r.prpubid = p.oid AND n.nspname = ANY (%(schemas)s))
"""

ROLES = """
SELECT r.rolname, r.rolcanlogin,
    array_remove(ARRAY[CASE WHEN r.rolsuper THEN 'SUPERUSER' END, CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END,
        CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END, CASE WHEN r.rolcreatedb THEN 'CREATEDB' END,
        CASE WHEN r.rolreplication THEN 'REPLICATION' END], NULL),
    coalesce((SELECT array_agg(g.rolname::text) FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
        WHERE m.member = r.oid), '{}')
FROM pg_roles r WHERE r.rolname NOT LIKE 'pg\\_%'
"""

LOGIN_SETTINGS = """
SELECT r.rolname, s.setconfig FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole WHERE s.setdatabase = 0
"""

DEFAULT_RIGHTS = """
SELECT coalesce((SELECT r.rolname FROM pg_roles r WHERE r.oid = a.grantee), 'PUBLIC')::text
FROM (SELECT r.oid, coalesce(
        (SELECT d.defaclacl FROM pg_default_acl d
            WHERE d.defaclrole = r.oid AND d.defaclobjtype = 'f' AND d.defaclnamespace = 0),
        acldefault('f', r.oid)) AS acl
    FROM pg_roles r WHERE r.rolname = %(owner)s
    UNION ALL
    SELECT r.oid, d.defaclacl FROM pg_default_acl d JOIN pg_roles r ON r.oid = d.defaclrole
    WHERE r.rolname = %(owner)s AND d.defaclobjtype = 'f' AND d.defaclnamespace <> 0) o, aclexplode(o.acl) a
WHERE a.grantee <> o.oid
"""

MONTHS = """
SELECT right(c.relname, 7) FROM pg_class c
WHERE c.relnamespace = to_regnamespace('shield') AND c.relname ~ '^calls_[0-9]{4}_[0-9]{2}$'
INTERSECT
SELECT right(c.relname, 7) FROM pg_class c
WHERE c.relnamespace = to_regnamespace('shield') AND c.relname ~ '^audit_events_[0-9]{4}_[0-9]{2}$'
"""

INDEXES = """
SELECT m.relname, replace(n.relname, p.relname, m.relname)
FROM pg_index x JOIN pg_class n ON n.oid = x.indexrelid AND n.relkind = 'I' JOIN pg_class p ON p.oid = x.indrelid
JOIN pg_inherits i ON i.inhparent = p.oid JOIN pg_class m ON m.oid = i.inhrelid
WHERE n.relnamespace = to_regnamespace('shield')
AND NOT EXISTS (SELECT FROM pg_inherits h JOIN pg_index y ON y.indexrelid = h.inhrelid AND y.indisvalid
    WHERE h.inhparent = n.oid AND y.indrelid = m.oid)
UNION
SELECT m.relname, n.relname FROM pg_index x JOIN pg_class n ON n.oid = x.indexrelid AND n.relkind = 'i'
JOIN pg_class m ON m.oid = x.indrelid WHERE n.relnamespace = to_regnamespace('shield') AND NOT x.indisvalid
ORDER BY 1, 2
"""

VIEWS = """
SELECT substr(c.relname, length(%(prefix)s) + 1),
    pg_get_viewdef(c.oid) || coalesce(' WITH ' || c.reloptions::text, '')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %(schema)s AND c.relkind = 'v' AND c.relname LIKE %(prefix)s || '%%'
"""

PARENTS = """
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'shield' AND c.relkind IN ('r', 'p') AND NOT c.relispartition
"""

POLICIES = """
SELECT tablename || '.' || policyname,
    concat_ws(' | ', permissive, array_to_string(roles, ','), cmd, coalesce(qual, '-'), coalesce(with_check, '-'))
FROM pg_policies WHERE schemaname = %s
"""

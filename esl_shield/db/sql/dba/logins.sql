CREATE OR REPLACE VIEW dba.logins WITH (security_barrier) AS
SELECT l.login, l.role, upper_inf(l.scope) AS all_tenants,
    (SELECT array_agg(t.name ORDER BY t.name) FROM shield.tenants t WHERE t.id <@ l.scope) AS tenants,
    l.deliveries, l.mint_per_s, l.lookups_per_s, l.person, l.rights, l.mapped_at,
    coalesce(r.rolcanlogin AND pg_has_role(r.oid, 'shield_' || l.role, 'MEMBER'), false) AS may_log_in,
    r.rolvaliduntil AS valid_until, nullif(r.rolconnlimit, -1) AS connection_limit,
    (SELECT count(*) FROM pg_stat_activity a WHERE a.usename = l.login AND a.datname = current_database()) AS connections,
    l.locked_at, l.locked_for
FROM shield.logins l LEFT JOIN pg_roles r ON r.rolname = l.login
WHERE l.scope && coalesce((SELECT o.scope FROM shield.logins o WHERE o.login = session_user::text),
    CASE WHEN pg_has_role(session_user, 'shield_owner', 'MEMBER') THEN '{(,)}' ELSE '{}' END::int4multirange);
COMMENT ON VIEW dba.logins IS 'logins that see a tenant of ours, what each may, and its open connections; passwords are not here. Cost: a few rows';
COMMENT ON COLUMN dba.logins.all_tenants IS 'whether it sees every tenant, also those made later';
COMMENT ON COLUMN dba.logins.tenants IS 'those of its tenants that we see; NULL: none';
COMMENT ON COLUMN dba.logins.may_log_in IS 'whether the role exists, has LOGIN and is a member of its group; false: the mapping is left over';
COMMENT ON COLUMN dba.logins.valid_until IS 'until when its password holds; NULL: no end, or no such role';
COMMENT ON COLUMN dba.logins.connection_limit IS 'most connections at once; NULL: no limit but the server''s';
COMMENT ON COLUMN dba.logins.connections IS 'connections to this database now';

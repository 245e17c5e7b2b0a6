-- Whether the caller may look at logins of this role that are not its own. An auditor's views show the logins of its tenants
-- (dba.logins leaves out the others). The reaper looks for workers to lock, the sealer counts those that are locked. Whether
-- the other of a reveal's two people may still act is asked in the session of this one, or of the resolver.
CREATE OR REPLACE FUNCTION shield.sees_logins(p_role text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN pg_has_role(session_user, 'shield_auditor', 'MEMBER') OR CASE p_role
        WHEN 'worker' THEN pg_has_role(session_user, 'shield_reaper', 'MEMBER')
            OR pg_has_role(session_user, 'shield_sealer', 'MEMBER')
        WHEN 'revealer' THEN pg_has_role(session_user, 'shield_revealer', 'MEMBER')
            OR pg_has_role(session_user, 'shield_resolver', 'MEMBER')
        ELSE false END;
END
$$;

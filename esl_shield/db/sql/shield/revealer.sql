-- The person a login belongs to, if that login may now take this step ('request', 'approve') for this tenant; else NULL.
CREATE OR REPLACE FUNCTION shield.revealer(p_login text, p_right text, p_tenant_id int) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT l.person::text FROM shield.logins l JOIN pg_roles r ON r.rolname = l.login AND r.rolcanlogin
        WHERE l.login = p_login AND l.role = 'revealer' AND p_right = ANY (l.rights) AND p_tenant_id <@ l.scope);
END
$$;

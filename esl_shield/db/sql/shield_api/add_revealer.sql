-- Administrator: map a login that exists to a person (NULL: none), tenants (NULL: all) and the steps that person may take.
-- Raises as add_login.
CREATE OR REPLACE FUNCTION shield_api.add_revealer(p_login text, p_tenants text[], p_person text, p_rights text[])
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_person CONSTANT text := regexp_replace(btrim(p_person), '\s+', ' ', 'g');
BEGIN
    PERFORM shield_api.add_login(p_login, 'revealer', p_tenants, NULL, NULL);
    UPDATE shield.logins l SET person = v_person, rights = p_rights WHERE l.login = p_login;
    INSERT INTO shield.audit_events (kind, detail) VALUES ('revealer.mapped',
        jsonb_build_object('login', p_login, 'person', v_person, 'rights', p_rights));
END
$$;

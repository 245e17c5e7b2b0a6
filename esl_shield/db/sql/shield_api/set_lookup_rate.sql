-- Administrator: how many numbers a scanner's login may look up in a second. False if it is no scanner's.
CREATE OR REPLACE FUNCTION shield_api.set_lookup_rate(p_login text, p_per_s int) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE shield.logins l SET lookups_per_s = p_per_s WHERE l.login = p_login AND l.role = 'scanner';
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE SEQUENCE IF NOT EXISTS shield.%I', shield.lookup_counter(p_login));
    INSERT INTO shield.audit_events (kind, detail) VALUES ('login.lookup_rate',
        jsonb_build_object('login', p_login, 'lookups_per_s', p_per_s));
    RETURN true;
END
$$;

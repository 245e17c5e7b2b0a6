-- Administrator: a worker's login that was locked may mint again. Answers unlocked, unchanged (it is not locked) or, for an
-- unknown login, NULL.
CREATE OR REPLACE FUNCTION shield_api.unlock_login(p_login text, p_reason text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_login record;
BEGIN
    SELECT l.login, l.locked_at, l.locked_for INTO v_login FROM shield.logins l WHERE l.login = p_login FOR UPDATE;
    IF v_login.login IS NULL THEN
        RETURN NULL;
    ELSIF v_login.locked_at IS NULL THEN
        RETURN 'unchanged';
    END IF;
    UPDATE shield.logins l SET locked_at = NULL, locked_for = NULL WHERE l.login = p_login;
    INSERT INTO shield.audit_events (kind, detail) VALUES ('login.unlocked', jsonb_build_object('login', p_login,
        'why', left(btrim(p_reason), 300), 'locked_at', v_login.locked_at, 'locked_for', v_login.locked_for));
    RETURN 'unlocked';
END
$$;

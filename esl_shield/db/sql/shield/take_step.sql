-- Counts one step of a reveal, a refused one too; false when the login of this connection took 60 within the hour.
CREATE OR REPLACE FUNCTION shield.take_step() RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_now CONSTANT timestamptz := clock_timestamp();
BEGIN
    INSERT INTO shield.reveal_usage AS u (login, since, used) VALUES (session_user, v_now, 1)
    ON CONFLICT (login) DO UPDATE
        SET since = CASE WHEN u.since <= v_now - interval '1 hour' THEN v_now ELSE u.since END,
            used = CASE WHEN u.since <= v_now - interval '1 hour' THEN 1 ELSE u.used + 1 END
        WHERE u.since <= v_now - interval '1 hour' OR u.used < 60;
    RETURN FOUND;
END
$$;

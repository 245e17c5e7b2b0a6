-- Worker: this process lives. Its calls carry the same name, that of its connections (application_name).
CREATE OR REPLACE FUNCTION shield_api.worker_beat() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_worker CONSTANT text := left(current_setting('application_name'), 64);
BEGIN
    UPDATE shield.worker_beats b SET at = clock_timestamp()
        WHERE b.login = session_user::text AND b.worker = v_worker;
    IF NOT FOUND THEN
        DELETE FROM shield.worker_beats b
            WHERE b.login = session_user::text AND b.at < clock_timestamp() - interval '1 day';
        INSERT INTO shield.worker_beats (login, worker) VALUES (session_user::text, v_worker)
            ON CONFLICT (login, worker) DO UPDATE SET at = clock_timestamp();
    END IF;
END
$$;

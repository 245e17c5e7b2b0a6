-- Takes look-ups from this login's rate, of which a minute's worth, or 1000, can be saved up: answers 0 when granted, else how many
-- milliseconds to wait, NULL for never. It counts in a sequence, because nothing undoes that: a login that asks in a
-- transaction and rolls it back has used its look-ups up all the same. Generic cell rate algorithm (ITU-T I.371).
CREATE OR REPLACE FUNCTION shield.take_lookups(p_count int) RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_rate int;
    v_counter regclass;
    v_now bigint;
    v_used_until bigint;
    v_most bigint;
BEGIN
    SELECT l.lookups_per_s INTO v_rate FROM shield.logins l WHERE l.login = session_user::text;
    v_counter := to_regclass('shield.' || shield.lookup_counter(session_user::text));
    IF coalesce(v_rate, 0) = 0 OR v_counter IS NULL THEN
        RETURN NULL;
    END IF;
    v_most := greatest(60, 1000.0 / v_rate) * 1000000;
    PERFORM pg_advisory_xact_lock(v_counter::oid::int8);
    v_now := floor(extract(epoch FROM clock_timestamp()) * 1000000);
    -- More than that is never granted: beyond it the clock was set back.
    v_used_until := greatest(least(coalesce(pg_sequence_last_value(v_counter), 0), v_now + v_most), v_now)
        + p_count * 1000000::bigint / v_rate;
    IF v_used_until - v_now > v_most THEN
        RETURN ceil((v_used_until - v_now - v_most) / 1000.0);
    END IF;
    PERFORM setval(v_counter, v_used_until);
    RETURN 0;
END
$$;

-- Whether this login may mint one more permit in this second; NULL is no limit. A login has as many slots as its rate (the
-- column stripe numbers them), each good for one permit a second. A slot that another transaction holds counts as used, so
-- nothing is gained by keeping transactions open, and calls do not queue. The second is the clock's, not the
-- transaction's start, and a slot's never goes back.
CREATE OR REPLACE FUNCTION shield.take_mint(p_mint_per_s int) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_second CONSTANT bigint := floor(extract(epoch FROM clock_timestamp()));
    v_slot int;
BEGIN
    IF p_mint_per_s IS NULL THEN
        RETURN true;
    END IF;
    SELECT b.stripe INTO v_slot FROM shield.mint_buckets b
        WHERE b.login = session_user::text AND b.stripe < p_mint_per_s AND b.second < v_second
        ORDER BY b.stripe LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF FOUND THEN
        UPDATE shield.mint_buckets b SET second = v_second WHERE b.login = session_user::text AND b.stripe = v_slot;
        RETURN true;
    END IF;
    -- Slots are made when they are first needed: the table is unlogged, and a crash empties it.
    SELECT coalesce(max(b.stripe) + 1, 0) INTO v_slot FROM shield.mint_buckets b WHERE b.login = session_user::text;
    WHILE v_slot < p_mint_per_s LOOP
        INSERT INTO shield.mint_buckets (login, stripe, second, used) VALUES (session_user, v_slot, v_second, 1)
            ON CONFLICT (login, stripe) DO NOTHING;
        IF FOUND THEN
            RETURN true;
        END IF;
        v_slot := v_slot + 1;
    END LOOP;
    RETURN false;
END
$$;
COMMENT ON TABLE shield.mint_buckets IS 'the second in which each of a login''s slots minted its latest permit';
COMMENT ON COLUMN shield.mint_buckets.stripe IS 'the slot, 0 up to the login''s mint rate';

-- Whether this login may mint one more permit in this second; NULL is no limit. The rate is shared out over up to 64 slots
-- (the column stripe numbers them). A slot that another transaction holds counts as used up, so nothing is gained by
-- keeping transactions open, and calls do not queue. The second is the clock's, not the transaction's start, and a slot's
-- never goes back, unless the clock did: no transaction is that much later than another.
CREATE OR REPLACE FUNCTION shield.take_mint(p_mint_per_s int) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_second CONSTANT bigint := floor(extract(epoch FROM clock_timestamp()));
    v_slots CONSTANT int := least(p_mint_per_s, 64);
    ahead CONSTANT int := 60;
    v_slot int;
BEGIN
    IF p_mint_per_s IS NULL THEN
        RETURN true;
    ELSIF p_mint_per_s = 0 THEN
        RETURN false;
    END IF;
    SELECT b.stripe INTO v_slot FROM shield.mint_buckets b
        WHERE b.login = session_user::text AND b.stripe < v_slots AND (b.second < v_second OR b.second > v_second + ahead
            OR b.second = v_second AND b.used < p_mint_per_s / v_slots + (b.stripe < p_mint_per_s % v_slots)::int)
        ORDER BY b.stripe LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF FOUND THEN
        UPDATE shield.mint_buckets b
            SET second = v_second, used = CASE WHEN b.second = v_second THEN b.used + 1 ELSE 1 END
            WHERE b.login = session_user::text AND b.stripe = v_slot;
        RETURN true;
    END IF;
    -- Slots are made when they are first needed: the table is unlogged, and a crash empties it.
    SELECT coalesce(max(b.stripe) + 1, 0) INTO v_slot FROM shield.mint_buckets b WHERE b.login = session_user::text;
    WHILE v_slot < v_slots LOOP
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
COMMENT ON TABLE shield.mint_buckets IS 'permits each of a login''s slots minted in the second it was last used';
COMMENT ON COLUMN shield.mint_buckets.stripe IS 'the slot, 0 to 63; each has its share of the login''s mint rate';

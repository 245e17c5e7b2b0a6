-- Whether one more caller of this DID may be masked in this minute; NULL is no limit. The minute is the clock's, and never
-- goes back.
CREATE OR REPLACE FUNCTION shield.take_mask(p_tenant_id int, p_did text, p_per_minute int) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_per_minute IS NULL THEN
        RETURN true;
    END IF;
    INSERT INTO shield.mask_buckets AS b (tenant_id, did, minute, used)
        SELECT p_tenant_id, p_did, floor(extract(epoch FROM clock_timestamp()) / 60), 1 WHERE p_per_minute > 0
    ON CONFLICT (did) DO UPDATE SET tenant_id = excluded.tenant_id, minute = excluded.minute,
            used = CASE WHEN b.minute < excluded.minute THEN 1 ELSE b.used + 1 END
        WHERE b.minute < excluded.minute OR b.minute = excluded.minute AND b.used < p_per_minute;
    RETURN FOUND;
END
$$;

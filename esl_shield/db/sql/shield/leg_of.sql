-- The UUID of the customer's leg in FreeSWITCH: the SIP Call-ID the worker chose for it, if that is one.
CREATE OR REPLACE FUNCTION shield.leg_of(p_sip_call_id text) RETURNS uuid
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- Counts ({8}) in the expression would take several times as long.
    RETURN CASE WHEN p_sip_call_id LIKE '________-____-____-____-____________'
        AND p_sip_call_id ~ '^[0-9a-f]+-[0-9a-f]+-[0-9a-f]+-[0-9a-f]+-[0-9a-f]+$' THEN p_sip_call_id::uuid END;
END
$$;

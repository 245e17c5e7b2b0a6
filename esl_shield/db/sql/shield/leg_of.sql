-- The UUID of the customer's leg in FreeSWITCH: the SIP Call-ID the worker chose for it, if that is one.
CREATE OR REPLACE FUNCTION shield.leg_of(p_sip_call_id text) RETURNS uuid
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN CASE WHEN p_sip_call_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN p_sip_call_id::uuid END;
END
$$;

-- HTTP API: end_click for the key's tenant. It only takes away, so a key that was revoked while FreeSWITCH was asked may
-- still say it: the leg must get no call. False for an unknown key, too.
CREATE OR REPLACE FUNCTION shield_api.api_end_click(p_key bytea, p_channel uuid, p_state text, p_cause text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN coalesce((SELECT shield_api.end_click(t.name::text, p_channel, p_state, p_cause)
        FROM shield.api_keys k JOIN shield.tenants t ON t.id = k.tenant_id WHERE k.key_hash = p_key), false);
END
$$;

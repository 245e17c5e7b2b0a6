-- Whether a legal hold stands on a token. The caller holds the token's row, so none comes meanwhile.
CREATE OR REPLACE FUNCTION shield.is_held(p_tenant_id int, p_token text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN EXISTS (SELECT FROM shield.holds h
        WHERE h.tenant_id = p_tenant_id AND h.token = p_token AND h.released_at IS NULL);
END
$$;

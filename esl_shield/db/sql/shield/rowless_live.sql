-- Whether a token that has no row is one of a prefix's, neither revoked nor at its end.
CREATE OR REPLACE FUNCTION shield.rowless_live(p_tenant_id int, p_token text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN EXISTS (SELECT FROM shield.rowless_token(p_tenant_id, p_token) r
        WHERE r.status = 'active' AND (r.expires_at IS NULL OR r.expires_at > clock_timestamp()));
END
$$;

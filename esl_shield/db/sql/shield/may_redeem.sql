-- Whether the login of this connection redeems permits of this delivery.
CREATE OR REPLACE FUNCTION shield.may_redeem(p_delivery text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN EXISTS (SELECT FROM shield.logins l WHERE l.login = session_user::text
        AND (l.deliveries IS NULL OR p_delivery = ANY (l.deliveries)));
END
$$;

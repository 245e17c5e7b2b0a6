-- Administrator: a tenant's new tokens get more digits; those it has stay. Answers how many they had, NULL when the tenant
-- is unknown. Raises ES006 when they would get shorter.
CREATE OR REPLACE FUNCTION shield_api.resize_tenant(p_tenant text, p_length int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_before record;
BEGIN
    SELECT t.id, t.token_length INTO v_before FROM shield.tenants t WHERE t.name = p_tenant FOR UPDATE;
    IF p_length < v_before.token_length THEN
        RAISE EXCEPTION 'tokens only get longer' USING ERRCODE = 'ES006';
    END IF;
    IF p_length > v_before.token_length THEN
        UPDATE shield.tenants SET token_length = p_length WHERE id = v_before.id;
        INSERT INTO shield.audit_events (tenant_id, kind, detail) VALUES (v_before.id, 'tenant.resized',
            jsonb_build_object('before', v_before.token_length, 'after', p_length));
    END IF;
    RETURN v_before.token_length;
END
$$;

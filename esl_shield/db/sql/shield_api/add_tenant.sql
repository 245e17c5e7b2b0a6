-- Administrator: a tenant, once; the same again answers its id, anything that differs is an error (ES003).
CREATE OR REPLACE FUNCTION shield_api.add_tenant(
    p_name text, p_domain text, p_prefix text, p_length int, p_region text
) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_id int;
BEGIN
    INSERT INTO shield.tenants (name, domain, token_prefix, token_length, region)
        VALUES (p_name, lower(p_domain), p_prefix, p_length, p_region)
        ON CONFLICT DO NOTHING RETURNING id INTO v_id;
    IF v_id IS NOT NULL THEN
        INSERT INTO shield.token_space (tenant_id) VALUES (v_id);
        INSERT INTO shield.audit_events (tenant_id, kind) VALUES (v_id, 'tenant.added');
        RETURN v_id;
    END IF;
    SELECT t.id INTO v_id FROM shield.tenants t WHERE t.name = p_name AND t.domain = lower(p_domain)
        AND t.token_prefix = p_prefix AND t.token_length = p_length AND t.region = p_region;
    IF v_id IS NULL THEN
        RAISE EXCEPTION 'name, domain or prefix is taken' USING ERRCODE = 'ES003';
    END IF;
    RETURN v_id;
END
$$;

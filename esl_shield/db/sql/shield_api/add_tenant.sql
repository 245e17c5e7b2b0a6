-- Administrator: a tenant, once; the same again answers its id, anything that differs is an error (ES003; its COLUMN says
-- what is taken: name, domain or token_prefix). No prefix begins another's, so no token could be of two tenants.
CREATE OR REPLACE FUNCTION shield_api.add_tenant(
    p_name text, p_domain text, p_prefix text, p_length int, p_region text
) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_tenant record;
    v_taken text;
    v_id int;
BEGIN
    LOCK TABLE shield.tenants IN SHARE ROW EXCLUSIVE MODE;
    SELECT t.id, t.domain = lower(p_domain) AND t.token_prefix = p_prefix AND t.token_length = p_length
            AND t.region = p_region AS same
        INTO v_tenant FROM shield.tenants t WHERE t.name = p_name;
    IF v_tenant.same THEN
        RETURN v_tenant.id;
    END IF;
    v_taken := CASE
        WHEN v_tenant.id IS NOT NULL THEN 'name'
        WHEN EXISTS (SELECT FROM shield.tenants t WHERE t.domain = lower(p_domain)) THEN 'domain'
        WHEN p_prefix <> '' AND EXISTS (SELECT FROM shield.tenants t
            WHERE starts_with(t.token_prefix, p_prefix) OR starts_with(p_prefix, t.token_prefix)) THEN 'token_prefix'
        WHEN p_prefix <> '' AND EXISTS (SELECT FROM shield.token_prefixes p
            WHERE starts_with(p.prefix, p_prefix) OR starts_with(p_prefix, p.prefix)) THEN 'token_prefix'
    END;
    IF v_taken IS NOT NULL THEN
        RAISE EXCEPTION '% is taken', v_taken USING ERRCODE = 'ES003', COLUMN = v_taken;
    END IF;
    INSERT INTO shield.tenants (name, domain, token_prefix, token_length, region)
        VALUES (p_name, lower(p_domain), p_prefix, p_length, p_region) RETURNING id INTO v_id;
    INSERT INTO shield.token_space (tenant_id) VALUES (v_id);
    INSERT INTO shield.audit_events (tenant_id, kind) VALUES (v_id, 'tenant.added');
    RETURN v_id;
END
$$;

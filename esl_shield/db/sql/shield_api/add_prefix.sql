-- Administrator: a prefix whose tokens need no row. Verdicts: ADDED; SAME (it is there with these values); UNKNOWN (tenant);
-- PERMISSION (the tenant does not require dial permissions); RETIRED; DIFFERS (it is there with other values); TAKEN (it
-- begins a prefix that is in use or was, or begins with one); KEYLESS (it could be added, with the ff1 key it needs).
CREATE OR REPLACE FUNCTION shield_api.add_prefix(
    p_tenant text, p_prefix text, p_method text, p_length int, p_key_version int, p_countries text[], p_ranges text[],
    p_line_types text[]
) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_tenant_id int;
    v_prefix record;
BEGIN
    LOCK TABLE shield.tenants IN SHARE ROW EXCLUSIVE MODE;
    SELECT t.id INTO v_tenant_id FROM shield.tenants t WHERE t.name = p_tenant;
    SELECT p.retired_at, p.tenant_id = v_tenant_id AND p.method = p_method AND p.length = p_length
            AND p.countries = p_countries AND p.ranges = p_ranges AND p.line_types = p_line_types
            AND p.key_version IS NOT DISTINCT FROM coalesce(p_key_version, p.key_version) AS same
        INTO v_prefix FROM shield.token_prefixes p WHERE p.prefix = p_prefix;
    IF v_tenant_id IS NULL THEN
        RETURN 'UNKNOWN';
    ELSIF v_prefix.retired_at IS NOT NULL THEN
        RETURN 'RETIRED';
    ELSIF v_prefix.same IS NOT NULL THEN
        RETURN CASE WHEN v_prefix.same THEN 'SAME' ELSE 'DIFFERS' END;
    ELSIF EXISTS (SELECT FROM shield.tenants t
                WHERE starts_with(t.token_prefix, p_prefix) OR starts_with(p_prefix, t.token_prefix))
            OR EXISTS (SELECT FROM shield.token_prefixes p
                WHERE starts_with(p.prefix, p_prefix) OR starts_with(p_prefix, p.prefix)) THEN
        RETURN 'TAKEN';
    ELSIF NOT shield.permission_required(v_tenant_id) THEN
        RETURN 'PERMISSION';
    ELSIF p_method = 'ff1' AND p_key_version IS NULL THEN
        RETURN 'KEYLESS';
    END IF;
    INSERT INTO shield.token_prefixes (prefix, tenant_id, method, length, key_version, countries, ranges, line_types)
        VALUES (p_prefix, v_tenant_id, p_method, p_length, p_key_version, p_countries, p_ranges, p_line_types);
    UPDATE shield.tenants t SET rowless = true WHERE t.id = v_tenant_id;
    INSERT INTO shield.audit_events (tenant_id, kind, detail) VALUES (v_tenant_id, 'prefix.added', jsonb_strip_nulls(
        jsonb_build_object('prefix', p_prefix, 'method', p_method, 'length', p_length, 'key_version', p_key_version,
            'countries', p_countries, 'ranges', p_ranges, 'line_types', p_line_types)));
    RETURN 'ADDED';
END
$$;

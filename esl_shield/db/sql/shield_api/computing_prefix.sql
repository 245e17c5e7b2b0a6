-- Seeder: what it takes to compute tokens of an ff1 prefix from numbers, the wrapped key included. No row for a prefix of
-- another method or tenant, nor for a retired one.
CREATE OR REPLACE FUNCTION shield_api.computing_prefix(p_tenant text, p_prefix text)
RETURNS TABLE (tenant_id int, region text, length int, key_version int, countries text[], ranges text[],
    line_types text[], wrapped bytea, kek_id text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT t.id, t.region::text, p.length, p.key_version::int, p.countries, p.ranges, p.line_types,
            d.wrapped, d.kek_id
        FROM shield.tenants t JOIN shield.token_prefixes p ON p.tenant_id = t.id
        JOIN shield.data_keys d ON d.tenant_id = t.id AND d.purpose = 'ff1' AND d.version = p.key_version
        WHERE t.name = p_tenant AND p.prefix = p_prefix AND p.method = 'ff1' AND p.retired_at IS NULL;
    IF FOUND THEN
        INSERT INTO shield.audit_events (tenant_id, kind, detail)
            SELECT t.id, 'key.read', jsonb_build_object('purpose', 'computing', 'prefix', p_prefix)
            FROM shield.tenants t WHERE t.name = p_tenant;
    END IF;
END
$$;

-- Seeder: what an import needs of a tenant, its newest keys (wrapped) included. No row for a tenant this login does not see.
CREATE OR REPLACE FUNCTION shield_api.seeding_tenant(p_tenant text)
RETURNS TABLE (tenant_id int, region text, token_prefix text, token_length int, data_key_version int,
    data_key_wrapped bytea, index_key_version int, index_key_wrapped bytea, kek_id text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT t.id, t.region::text, t.token_prefix, t.token_length, d.version::int, d.wrapped, i.version::int, i.wrapped, d.kek_id
        FROM shield.tenants t
        LEFT JOIN LATERAL (SELECT * FROM shield.data_keys k WHERE k.tenant_id = t.id AND k.purpose = 'data'
            ORDER BY k.version DESC LIMIT 1) d ON true
        LEFT JOIN LATERAL (SELECT * FROM shield.data_keys k WHERE k.tenant_id = t.id AND k.purpose = 'index'
            ORDER BY k.version DESC LIMIT 1) i ON true
        WHERE t.name = p_tenant;
    IF FOUND THEN
        INSERT INTO shield.audit_events (tenant_id, kind, detail)
            SELECT t.id, 'key.read', '{"purpose": "seeding"}' FROM shield.tenants t WHERE t.name = p_tenant;
    END IF;
END
$$;

-- Seeder: what an import needs of a tenant, its keys (wrapped) included: the newest data key and the index keys that look-ups
-- need, newest first, [{purpose, version, wrapped (hexadecimal), kek_id}]. No row for a tenant this login does not see.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_proc p WHERE p.pronamespace = 'shield_api'::pg_catalog.regnamespace
            AND p.proname = 'seeding_tenant' AND NOT 'keys' = ANY (p.proargnames)) THEN
        DROP FUNCTION shield_api.seeding_tenant;
    END IF;
END
$$;
CREATE OR REPLACE FUNCTION shield_api.seeding_tenant(p_tenant text)
RETURNS TABLE (tenant_id int, region text, token_prefix text, token_length int, keys jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT t.id, t.region::text, t.token_prefix, t.token_length, coalesce((
            SELECT jsonb_agg(jsonb_build_object('purpose', d.purpose, 'version', d.version,
                'wrapped', encode(d.wrapped, 'hex'), 'kek_id', d.kek_id) ORDER BY d.purpose, d.version DESC)
            FROM shield.data_keys d WHERE d.tenant_id = t.id AND (d.purpose, d.version) IN
                (('data', k.data), ('index', k.index), ('index', k.index_before))), '[]')
        FROM shield.tenants t CROSS JOIN LATERAL shield.live_keys(t.id) k
        WHERE t.name = p_tenant;
    IF FOUND THEN
        INSERT INTO shield.audit_events (tenant_id, kind, detail)
            SELECT t.id, 'key.read', '{"purpose": "seeding"}' FROM shield.tenants t WHERE t.name = p_tenant;
    END IF;
END
$$;

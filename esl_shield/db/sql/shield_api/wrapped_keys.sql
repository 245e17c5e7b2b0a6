-- Administrator: every key that is not wrapped under this KEK, as it is kept.
CREATE OR REPLACE FUNCTION shield_api.wrapped_keys(p_kek_id text)
RETURNS TABLE (tenant_id int, tenant text, purpose text, version int, wrapped bytea, kek_id text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    INSERT INTO shield.audit_events (tenant_id, kind, detail)
        SELECT d.tenant_id, 'key.read', jsonb_build_object('purpose', 'rewrap', 'keys', count(*)) FROM shield.data_keys d
        WHERE d.kek_id <> p_kek_id AND d.destroyed_at IS NULL GROUP BY d.tenant_id;
    RETURN QUERY SELECT d.tenant_id, t.name, d.purpose, d.version::int, d.wrapped, d.kek_id
        FROM shield.data_keys d JOIN shield.tenants t ON t.id = d.tenant_id
        WHERE d.kek_id <> p_kek_id AND d.destroyed_at IS NULL ORDER BY t.name, d.purpose, d.version;
END
$$;

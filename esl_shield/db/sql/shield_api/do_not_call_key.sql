-- Resolver: a wrapped index key, to look numbers up in a tenant's do-not-call list; no row for a tenant that has none.
CREATE OR REPLACE FUNCTION shield_api.do_not_call_key(p_tenant_id int, p_version int) RETURNS TABLE (wrapped bytea, kek_id text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT d.wrapped, d.kek_id FROM shield.data_keys d
        WHERE d.tenant_id = p_tenant_id AND d.purpose = 'index' AND d.version = p_version AND d.destroyed_at IS NULL
        AND EXISTS (SELECT FROM shield.do_not_call n WHERE n.tenant_id = p_tenant_id);
    IF FOUND THEN
        INSERT INTO shield.audit_events (tenant_id, kind, detail) VALUES (
            -- A list for all may be of a tenant this login is not mapped to, whose events it cannot add.
            (SELECT p_tenant_id FROM shield.logins l WHERE l.login = session_user::text AND p_tenant_id <@ l.scope), 'key.read',
            jsonb_build_object('purpose', 'index', 'version', p_version, 'for', 'do_not_call', 'list_of', p_tenant_id));
    END IF;
END
$$;

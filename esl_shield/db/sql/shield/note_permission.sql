-- The audit event of what was said about a dial permission.
CREATE OR REPLACE FUNCTION shield.note_permission(p_kind text, p_tenant_id int, p_id uuid, p_token text, p_agent text, p_more jsonb)
RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO shield.audit_events (tenant_id, kind, agent, token, detail)
        VALUES (p_tenant_id, p_kind, p_agent, p_token, jsonb_strip_nulls(jsonb_build_object('permission', p_id) || p_more));
END
$$;

-- The audit event of a steward's or eraser's act on one token, done or refused.
CREATE OR REPLACE FUNCTION shield.note_token(
    p_tenant_id int, p_kind text, p_token text, p_case text, p_reason text, p_more jsonb
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO shield.audit_events (tenant_id, kind, token, detail) VALUES (p_tenant_id, p_kind, p_token,
        jsonb_strip_nulls(jsonb_build_object('case', left(btrim(p_case), 64), 'why', left(btrim(p_reason), 300))) || p_more);
END
$$;

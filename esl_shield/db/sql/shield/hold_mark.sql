-- Keeps what a rule counts by for this transaction alone, made when it is first needed.
CREATE OR REPLACE FUNCTION shield.hold_mark(p_tenant_id int, p_kind text, p_name text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO shield.policy_marks (tenant_id, kind, name, since, used, last_at)
        VALUES (p_tenant_id, p_kind, p_name, clock_timestamp(), 0, clock_timestamp()) ON CONFLICT DO NOTHING;
    PERFORM FROM shield.policy_marks m WHERE m.tenant_id = p_tenant_id AND m.kind = p_kind AND m.name = p_name FOR UPDATE;
END
$$;

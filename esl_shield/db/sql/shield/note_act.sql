-- Which key of the HTTP API had something done: an event beside that of what was done, in the same transaction.
CREATE OR REPLACE FUNCTION shield.note_act(p_tenant_id int, p_key int, p_operation text, p_token text, p_detail jsonb)
RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO shield.audit_events (tenant_id, kind, token, detail) VALUES (p_tenant_id, 'api.acted', p_token,
        jsonb_strip_nulls(jsonb_build_object('key', p_key, 'operation', p_operation) || p_detail));
END
$$;

-- A tenant's wrapped key of one purpose, with the event that it was read; the key is NULL when it was destroyed. Which purpose a
-- role may read is said by the function it calls, never by an argument of that.
CREATE OR REPLACE FUNCTION shield.read_key(p_tenant_id int, p_purpose text, p_version int)
RETURNS TABLE (wrapped bytea, kek_id text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT d.wrapped, d.kek_id FROM shield.data_keys d
        WHERE d.tenant_id = p_tenant_id AND d.purpose = p_purpose AND d.version = p_version;
    IF FOUND THEN
        INSERT INTO shield.audit_events (tenant_id, kind, detail)
            VALUES (p_tenant_id, 'key.read', jsonb_build_object('purpose', p_purpose, 'version', p_version));
    END IF;
END
$$;

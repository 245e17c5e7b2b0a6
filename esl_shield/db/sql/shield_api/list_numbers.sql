-- Seeder: adds numbers to a tenant's do-not-call list; rows are {index, previous, entry, ciphertext}, bytes hexadecimal, made
-- with the newest keys (previous: the index under the key before it, while that is being replaced). Answers how many are new.
-- Raises ES002 (no such tenant), ES004 (keys were rotated: read them again).
CREATE OR REPLACE FUNCTION shield_api.list_numbers(p_tenant_id int, p_index_version int, p_key_version int, p_rows jsonb)
RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_keys record;
    v_added int;
BEGIN
    IF NOT EXISTS (SELECT FROM shield.tenants t WHERE t.id = p_tenant_id) THEN
        RAISE EXCEPTION 'no such tenant' USING ERRCODE = 'ES002';
    END IF;
    PERFORM shield.hold_keys(p_tenant_id, false);
    SELECT k.* INTO v_keys FROM shield.live_keys(p_tenant_id) k;
    IF v_keys.index IS DISTINCT FROM p_index_version OR v_keys.data IS DISTINCT FROM p_key_version OR v_keys.index_before IS NOT NULL
            AND EXISTS (SELECT FROM jsonb_array_elements(p_rows) r WHERE r ->> 'previous' IS NULL) THEN
        RAISE EXCEPTION 'the keys were rotated' USING ERRCODE = 'ES004';
    END IF;
    INSERT INTO shield.do_not_call (tenant_id, number_index, index_version, entry, ciphertext, key_version)
        SELECT p_tenant_id, decode(r.index, 'hex'), p_index_version, r.entry, decode(r.ciphertext, 'hex'), p_key_version
        FROM jsonb_to_recordset(p_rows) AS r (index text, previous text, entry uuid, ciphertext text)
        WHERE r.previous IS NULL OR NOT EXISTS (SELECT FROM shield.do_not_call n WHERE n.tenant_id = p_tenant_id
            AND n.number_index = decode(r.previous, 'hex') AND n.index_version = v_keys.index_before)
        ORDER BY r.index ON CONFLICT (tenant_id, number_index) DO NOTHING;
    GET DIAGNOSTICS v_added = ROW_COUNT;
    INSERT INTO shield.audit_events (tenant_id, kind, detail) VALUES (p_tenant_id, 'do_not_call.added',
        jsonb_build_object('asked', jsonb_array_length(p_rows), 'added', v_added));
    RETURN v_added;
END
$$;

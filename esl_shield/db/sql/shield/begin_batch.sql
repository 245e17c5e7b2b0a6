-- Where a batch of numbers begins that looks at what is there, in turn with its tenant's other batches.
-- Returns the version of the index key before the newest while look-ups still need that one, else NULL. Raises ES002 (no such
-- tenant), ES004 (the keys are not the newest, or a row's previous is missing: read them again).
CREATE OR REPLACE FUNCTION shield.begin_batch(p_tenant_id int, p_index_version int, p_key_version int, p_rows jsonb)
RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_keys record;
BEGIN
    PERFORM shield.hold_keys(p_tenant_id, false);
    PERFORM shield.take_turn(p_tenant_id, true);
    IF NOT EXISTS (SELECT FROM shield.token_space s WHERE s.tenant_id = p_tenant_id) THEN
        RAISE EXCEPTION 'no such tenant' USING ERRCODE = 'ES002';
    END IF;
    SELECT k.* INTO v_keys FROM shield.live_keys(p_tenant_id) k;
    IF v_keys.index <> p_index_version OR v_keys.data <> p_key_version OR v_keys.index_before IS NOT NULL
            AND EXISTS (SELECT FROM jsonb_array_elements(p_rows) AS r (fields) WHERE r.fields ->> 'previous' IS NULL) THEN
        RAISE EXCEPTION 'the keys are not the newest' USING ERRCODE = 'ES004';
    END IF;
    RETURN v_keys.index_before;
END
$$;

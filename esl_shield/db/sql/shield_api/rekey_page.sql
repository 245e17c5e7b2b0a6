-- Rekeyer: the next tokens of a tenant, in order, at most 1000; with the ciphertext of those that are still to be done, and of
-- no other: what is encrypted under the newest key is shown only while an index key is being replaced.
CREATE OR REPLACE FUNCTION shield_api.rekey_page(p_tenant_id int, p_work text, p_after text, p_limit int)
RETURNS TABLE (token text, ciphertext bytea, key_version int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    -- What is of a key version below this one is still to be done.
    v_below CONSTANT int := (SELECT CASE WHEN p_work = 'reencrypt' THEN k.data WHEN k.index_before IS NOT NULL THEN 2147483647
        ELSE 0 END FROM shield.live_keys(p_tenant_id) k);
    v_shown int := 0;
BEGIN
    FOR token, ciphertext, key_version IN
        SELECT t.token, CASE WHEN t.key_version < v_below THEN t.ciphertext END, t.key_version FROM shield.tokens t
        WHERE t.tenant_id = p_tenant_id AND t.token > p_after ORDER BY t.token LIMIT least(p_limit, 1000) LOOP
        v_shown := v_shown + (ciphertext IS NOT NULL)::int;
        RETURN NEXT;
    END LOOP;
    IF v_shown > 0 THEN
        INSERT INTO shield.audit_events (tenant_id, kind, detail) VALUES (p_tenant_id, 'rekeying.read',
            jsonb_build_object('work', p_work, 'ciphertexts', v_shown));
    END IF;
END
$$;

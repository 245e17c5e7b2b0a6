-- Rekeyer: entries of a tenant's do-not-call list that are not under the newest data key (reencrypt) or index key (reindex),
-- after one of them, at most 1000.
CREATE OR REPLACE FUNCTION shield_api.do_not_call_page(p_tenant_id int, p_work text, p_after uuid, p_limit int)
RETURNS TABLE (entry uuid, ciphertext bytea, key_version int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT n.entry, n.ciphertext::bytea, n.key_version::int
        FROM shield.do_not_call n, shield.live_keys(p_tenant_id) k
        WHERE n.tenant_id = p_tenant_id AND n.entry > p_after
        AND CASE p_work WHEN 'reencrypt' THEN n.key_version < k.data ELSE n.index_version < k.index END
        ORDER BY n.entry LIMIT least(p_limit, 1000);
    IF FOUND THEN
        INSERT INTO shield.audit_events (tenant_id, kind, detail) VALUES (p_tenant_id, 'rekeying.read',
            jsonb_build_object('work', p_work, 'of', 'do_not_call'));
    END IF;
END
$$;

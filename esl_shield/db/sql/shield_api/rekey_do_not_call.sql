-- Rekeyer: brings entries of a tenant's do-not-call list to the newest key; rows are {entry, before, after}, bytes hexadecimal:
-- before the ciphertext that was read, after the new ciphertext (reencrypt) or the new blind index (reindex). An entry that
-- was changed or removed meanwhile stays as it is. Verdict DONE with how many were as read, or STALE: the version is not the
-- newest any more.
CREATE OR REPLACE FUNCTION shield_api.rekey_do_not_call(p_tenant_id int, p_work text, p_version int, p_rows jsonb)
RETURNS TABLE (verdict text, matched int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_row record;
BEGIN
    PERFORM shield.hold_keys(p_tenant_id, false);
    IF (SELECT CASE p_work WHEN 'reencrypt' THEN k.data ELSE k.index END FROM shield.live_keys(p_tenant_id) k)
            IS DISTINCT FROM p_version THEN
        RETURN QUERY SELECT 'STALE', 0;
        RETURN;
    END IF;
    verdict := 'DONE';
    matched := 0;
    FOR v_row IN SELECT r.entry, decode(r.before, 'hex') AS before, decode(r.after, 'hex') AS after
            FROM jsonb_to_recordset(p_rows) AS r (entry uuid, before text, after text) ORDER BY r.entry LOOP
        IF p_work = 'reencrypt' THEN
            UPDATE shield.do_not_call n SET ciphertext = v_row.after, key_version = p_version
                WHERE n.tenant_id = p_tenant_id AND n.entry = v_row.entry AND n.ciphertext = v_row.before;
        ELSIF EXISTS (SELECT FROM shield.do_not_call o WHERE o.tenant_id = p_tenant_id AND o.number_index = v_row.after) THEN
            DELETE FROM shield.do_not_call n  -- listed again meanwhile, under the newest key
                WHERE n.tenant_id = p_tenant_id AND n.entry = v_row.entry AND n.ciphertext = v_row.before;
        ELSE
            UPDATE shield.do_not_call n SET number_index = v_row.after, index_version = p_version
                WHERE n.tenant_id = p_tenant_id AND n.entry = v_row.entry AND n.ciphertext = v_row.before;
        END IF;
        matched := matched + FOUND::int;
    END LOOP;
    INSERT INTO shield.audit_events (tenant_id, kind, detail) VALUES (p_tenant_id, 'do_not_call.rekeyed',
        jsonb_build_object('work', p_work, 'version', p_version, 'entries', matched));
    RETURN NEXT;
END
$$;

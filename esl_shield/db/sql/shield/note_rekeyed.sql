-- One batch of a rekeying: its audit event, and how far it is. The place moves on only when every row asked for was as it
-- had been read; else the same page is read again.
CREATE OR REPLACE FUNCTION shield.note_rekeyed(
    p_tenant_id int, p_work text, p_version int, p_before int[], p_after text, p_asked int, p_matched int, p_changed int
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE shield.rekeyings r SET changed = r.changed + p_changed, moved_at = clock_timestamp(),
            after_token = CASE WHEN p_matched = p_asked THEN greatest(r.after_token, p_after) ELSE r.after_token END
        WHERE r.tenant_id = p_tenant_id AND r.work = p_work AND r.version = p_version;
    INSERT INTO shield.audit_events (tenant_id, kind, detail) VALUES (p_tenant_id,
        CASE p_work WHEN 'reencrypt' THEN 'tokens.reencrypted' ELSE 'tokens.reindexed' END,
        jsonb_build_object('before', p_before, 'version', p_version, 'asked', p_asked, 'changed', p_changed,
            'changed_meanwhile', p_asked - p_matched));
END
$$;

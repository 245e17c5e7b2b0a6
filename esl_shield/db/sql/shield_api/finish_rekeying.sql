-- Rekeyer: every token was brought to this version. p_left: how many could not be (they are damaged); then it is not finished.
CREATE OR REPLACE FUNCTION shield_api.finish_rekeying(p_tenant_id int, p_work text, p_version int, p_left int) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE shield.rekeyings r SET moved_at = clock_timestamp(),
            finished_at = CASE WHEN p_left = 0 THEN clock_timestamp() END
        WHERE r.tenant_id = p_tenant_id AND r.work = p_work AND r.version = p_version;
    INSERT INTO shield.audit_events (tenant_id, kind, detail) VALUES (p_tenant_id, 'rekeying.finished',
        jsonb_build_object('work', p_work, 'version', p_version, 'left', p_left));
END
$$;

-- Administrator: from now on no look-up uses this index key. Verdicts: RETIRED; UNKNOWN (no such tenant or version); NEWEST;
-- UNFINISHED (its numbers are not all indexed under the newest key); REVEALS (one under way names its number by this key).
CREATE OR REPLACE FUNCTION shield_api.retire_index_key(p_tenant_id int, p_version int) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_newest int;
    v_key record;
BEGIN
    PERFORM shield.hold_keys(p_tenant_id, true);
    SELECT k.index INTO v_newest FROM shield.live_keys(p_tenant_id) k;
    SELECT d.version, d.retired_at INTO v_key FROM shield.data_keys d
        WHERE d.tenant_id = p_tenant_id AND d.purpose = 'index' AND d.version = p_version;
    IF v_key.version IS NULL THEN
        RETURN 'UNKNOWN';
    ELSIF v_key.retired_at IS NOT NULL THEN
        RETURN 'RETIRED';
    ELSIF p_version = v_newest THEN
        RETURN 'NEWEST';
    ELSIF NOT EXISTS (SELECT FROM shield.rekeyings r WHERE r.tenant_id = p_tenant_id AND r.work = 'reindex'
            AND r.version = v_newest AND r.finished_at IS NOT NULL)
            OR EXISTS (SELECT FROM shield.do_not_call n WHERE n.tenant_id = p_tenant_id AND n.index_version = p_version) THEN
        RETURN 'UNFINISHED';
    ELSIF EXISTS (SELECT FROM shield.reveals r WHERE r.tenant_id = p_tenant_id AND r.index_version = p_version
            AND r.number_index IS NOT NULL AND r.expires_at > clock_timestamp()) THEN
        RETURN 'REVEALS';
    END IF;
    UPDATE shield.data_keys d SET retired_at = clock_timestamp()
        WHERE d.tenant_id = p_tenant_id AND d.purpose = 'index' AND d.version = p_version;
    INSERT INTO shield.audit_events (tenant_id, kind, detail) VALUES (p_tenant_id, 'key.retired',
        jsonb_build_object('purpose', 'index', 'version', p_version));
    RETURN 'RETIRED';
END
$$;

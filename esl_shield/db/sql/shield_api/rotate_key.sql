-- Administrator: a tenant's next key of a purpose; from this transaction's end on nothing is written under the one before.
-- Verdicts: ROTATED; STALE (p_version is not the next: somebody else was faster); KEYLESS (there is none to follow); BUSY (an
-- index key: the rotation before is not over, the older key still serves look-ups).
CREATE OR REPLACE FUNCTION shield_api.rotate_key(
    p_tenant_id int, p_purpose text, p_version int, p_wrapped bytea, p_kek_id text
) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_newest int;
BEGIN
    PERFORM shield.hold_keys(p_tenant_id, true);
    SELECT max(d.version) INTO v_newest FROM shield.data_keys d WHERE d.tenant_id = p_tenant_id AND d.purpose = p_purpose;
    IF v_newest IS NULL THEN
        RETURN 'KEYLESS';
    ELSIF p_version <> v_newest + 1 THEN
        RETURN 'STALE';
    ELSIF p_purpose = 'index' AND (SELECT k.index_before FROM shield.live_keys(p_tenant_id) k) IS NOT NULL THEN
        RETURN 'BUSY';
    END IF;
    PERFORM shield_api.add_key(p_tenant_id, p_purpose, p_version, p_wrapped, p_kek_id);
    RETURN 'ROTATED';
END
$$;

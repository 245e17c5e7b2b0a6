-- Dialler: nobody dials with this permission any more; calls made with it go on. Verdicts: REVOKED, UNCHANGED, UNKNOWN.
CREATE OR REPLACE FUNCTION shield_api.revoke_permission(p_tenant text, p_id uuid) RETURNS TABLE (verdict text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_tenant_id int;
    v_permission record;
    v_verdict text;
BEGIN
    SELECT t.id INTO v_tenant_id FROM shield.tenants t WHERE t.name = p_tenant;
    SELECT p.id, p.token, p.agent, p.revoked_at, p.used INTO v_permission FROM shield.dial_permissions p
        WHERE p.tenant_id = v_tenant_id AND p.id = p_id FOR UPDATE;
    v_verdict := CASE WHEN v_permission.id IS NULL THEN 'UNKNOWN' WHEN v_permission.revoked_at IS NOT NULL THEN 'UNCHANGED'
        ELSE 'REVOKED' END;
    IF v_verdict = 'REVOKED' THEN
        UPDATE shield.dial_permissions p SET revoked_at = now(), revoked_by = session_user WHERE p.id = p_id;
    END IF;
    PERFORM shield.note_permission(
        CASE v_verdict WHEN 'REVOKED' THEN 'permission.revoked' ELSE 'permission.not_revoked' END, v_tenant_id, p_id,
        v_permission.token, v_permission.agent,
        CASE v_verdict WHEN 'REVOKED' THEN jsonb_build_object('used', v_permission.used)
            ELSE jsonb_build_object('reason', lower(v_verdict)) END);
    RETURN QUERY SELECT v_verdict;
END
$$;

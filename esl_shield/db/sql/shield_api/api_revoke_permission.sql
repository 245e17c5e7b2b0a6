-- HTTP API: revoke_permission for the key's tenant. Verdicts OK, NOT_FOUND and those of shield.api_key.
CREATE OR REPLACE FUNCTION shield_api.api_revoke_permission(p_key bytea, p_id uuid)
RETURNS TABLE (verdict text, body jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $$
#variable_conflict use_column
DECLARE
    v_by record;
    v_outcome text;
BEGIN
    SELECT * INTO v_by FROM shield.api_key(p_key, 'permissions');
    IF v_by.verdict <> 'OK' THEN
        RETURN QUERY SELECT v_by.verdict, NULL::jsonb;
        RETURN;
    END IF;
    SELECT r.verdict INTO v_outcome FROM shield_api.revoke_permission(v_by.tenant, p_id) r;
    PERFORM shield.note_act(v_by.tenant_id, v_by.key_id, 'revoke_permission', NULL,
        jsonb_build_object('permission', p_id, 'outcome', lower(v_outcome)));
    RETURN QUERY SELECT CASE v_outcome WHEN 'UNKNOWN' THEN 'NOT_FOUND' ELSE 'OK' END,
        shield.api_permission_body(v_by.tenant, p_id);
END
$$;

-- HTTP API: grant_permission for the key's tenant. Verdicts GRANTED, UNCHANGED, NOT_FOUND, REFUSED and those of shield.api_key.
CREATE OR REPLACE FUNCTION shield_api.api_grant_permission(
    p_key bytea, p_id uuid, p_token text, p_alias text, p_agent text, p_from timestamptz, p_until timestamptz, p_calls int,
    p_campaign text, p_ref text
) RETURNS TABLE (verdict text, body jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $$
#variable_conflict use_column
DECLARE
    v_by record;
    v_done record;
BEGIN
    SELECT * INTO v_by FROM shield.api_key(p_key, 'permissions');
    IF v_by.verdict <> 'OK' THEN
        RETURN QUERY SELECT v_by.verdict, NULL::jsonb;
        RETURN;
    END IF;
    SELECT * INTO v_done FROM shield_api.grant_permission(
        v_by.tenant, p_id, p_token, p_alias, p_agent, p_from, p_until, p_calls, p_campaign, p_ref);
    PERFORM shield.note_act(v_by.tenant_id, v_by.key_id, 'grant_permission', v_done.token,
        jsonb_build_object('permission', p_id, 'outcome', lower(v_done.verdict)));
    RETURN QUERY SELECT CASE v_done.verdict WHEN 'UNKNOWN' THEN 'NOT_FOUND' ELSE v_done.verdict END,
        CASE WHEN v_done.verdict IN ('GRANTED', 'UNCHANGED') THEN shield.api_permission_body(v_by.tenant, p_id) END;
END
$$;

-- HTTP API: begin_click for the key's tenant. Verdicts of begin_click and of shield.api_key.
CREATE OR REPLACE FUNCTION shield_api.api_begin_click(
    p_key bytea, p_channel uuid, p_agent text, p_token text, p_alias text, p_ref text, p_click_key bytea
) RETURNS TABLE (verdict text, channel uuid, state text, domain text, token text, shown text, ref text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_by record;
    v_done record;
BEGIN
    SELECT * INTO v_by FROM shield.api_key(p_key, 'dial');
    IF v_by.verdict <> 'OK' THEN
        RETURN QUERY SELECT v_by.verdict, NULL::uuid, NULL::text, NULL::text, NULL::text, NULL::text, NULL::text;
        RETURN;
    END IF;
    SELECT * INTO v_done FROM shield_api.begin_click(v_by.tenant, p_channel, p_agent, p_token, p_alias, p_ref, p_click_key);
    PERFORM shield.note_act(v_by.tenant_id, v_by.key_id, 'click', v_done.token,
        jsonb_build_object('channel', v_done.channel, 'outcome', lower(v_done.verdict)));
    RETURN QUERY SELECT v_done.verdict, v_done.channel, v_done.state, v_done.domain, v_done.token, v_done.shown, v_done.ref;
END
$$;

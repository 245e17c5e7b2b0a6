-- HTTP API: one click of the key's tenant, and what became of it. Verdicts OK, NOT_FOUND and those of shield.api_key.
CREATE OR REPLACE FUNCTION shield_api.api_click(p_key bytea, p_channel uuid)
RETURNS TABLE (verdict text, body jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $$
#variable_conflict use_column
DECLARE
    v_by record;
    v_body jsonb;
BEGIN
    SELECT * INTO v_by FROM shield.api_key(p_key, 'dial');
    IF v_by.verdict = 'OK' THEN
        SELECT jsonb_build_object('id', k.channel, 'agent', k.agent, 'token', k.token, 'ref', k.ref, 'state', k.state,
                'cause', k.cause, 'call', k.call, 'asked_at', k.asked_at)
            INTO v_body FROM shield.clicks k WHERE k.channel = p_channel AND k.tenant_id = v_by.tenant_id;
    END IF;
    RETURN QUERY SELECT CASE WHEN v_by.verdict = 'OK' AND v_body IS NULL THEN 'NOT_FOUND' ELSE v_by.verdict END, v_body;
END
$$;

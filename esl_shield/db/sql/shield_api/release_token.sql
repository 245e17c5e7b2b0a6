-- Steward: end one case's hold on a token; those of other cases stay. Verdicts: RELEASED, UNCHANGED (this case has none),
-- UNKNOWN, REFUSED (case or reason is unfit).
CREATE OR REPLACE FUNCTION shield_api.release_token(p_tenant text, p_token text, p_alias text, p_case text, p_reason text)
RETURNS TABLE (verdict text, token text, holds int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_tenant_id int;
    v_token text;
    v_verdict text := 'RELEASED';
BEGIN
    SELECT t.id INTO v_tenant_id FROM shield.tenants t WHERE t.name = p_tenant;
    v_token := shield.named_token(v_tenant_id, p_token, p_alias);
    IF v_token IS NULL THEN
        v_verdict := 'UNKNOWN';
    ELSIF NOT shield.case_text(p_case, p_reason) THEN
        v_verdict := 'REFUSED';
    ELSE
        UPDATE shield.holds h SET released_by = session_user, released_at = clock_timestamp(), release_reason = btrim(p_reason)
            WHERE h.tenant_id = v_tenant_id AND h.token = v_token AND h.case_id = btrim(p_case) AND h.released_at IS NULL;
        IF NOT FOUND THEN
            v_verdict := 'UNCHANGED';
        END IF;
    END IF;
    PERFORM shield.note_token(v_tenant_id,
        CASE v_verdict WHEN 'RELEASED' THEN 'token.released' ELSE 'token.release_refused' END, v_token, p_case, p_reason,
        CASE v_verdict WHEN 'RELEASED' THEN '{}' ELSE jsonb_build_object('reason', lower(v_verdict)) END);
    RETURN QUERY SELECT v_verdict, v_token, (SELECT count(*)::int FROM shield.holds h
        WHERE h.tenant_id = v_tenant_id AND h.token = v_token AND h.released_at IS NULL);
END
$$;

-- Steward: end one case's hold on a token; those of other cases stay. Verdicts: RELEASED, UNCHANGED (this case has none),
-- UNKNOWN, REFUSED (case or reason is unfit).
CREATE OR REPLACE FUNCTION shield_api.release_token(p_tenant text, p_token text, p_alias text, p_case text, p_reason text)
RETURNS TABLE (verdict text, token text, holds int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_for record;
    v_verdict text;
BEGIN
    SELECT * INTO v_for FROM shield.for_case(p_tenant, p_token, p_alias, p_case, p_reason);
    v_verdict := coalesce(v_for.verdict, 'RELEASED');
    IF v_for.verdict IS NULL THEN
        UPDATE shield.holds h SET released_by = session_user, released_at = clock_timestamp(), release_reason = btrim(p_reason)
            WHERE h.tenant_id = v_for.tenant_id AND h.token = v_for.token AND h.case_id = btrim(p_case) AND h.released_at IS NULL;
        IF NOT FOUND THEN
            v_verdict := 'UNCHANGED';
        END IF;
    END IF;
    PERFORM shield.note_token(v_for.tenant_id,
        CASE v_verdict WHEN 'RELEASED' THEN 'token.released' ELSE 'token.release_refused' END, v_for.token, p_case, p_reason,
        CASE v_verdict WHEN 'RELEASED' THEN '{}' ELSE jsonb_build_object('reason', lower(v_verdict)) END);
    RETURN QUERY SELECT v_verdict, v_for.token, (SELECT count(*)::int FROM shield.holds h
        WHERE h.tenant_id = v_for.tenant_id AND h.token = v_for.token AND h.released_at IS NULL);
END
$$;

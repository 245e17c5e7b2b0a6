-- Steward: a legal hold for a case. While one stands the token is neither erased nor given another number.
-- Verdicts: HELD, UNCHANGED (this case holds it already), UNKNOWN, REFUSED (case or reason is unfit).
CREATE OR REPLACE FUNCTION shield_api.hold_token(p_tenant text, p_token text, p_alias text, p_case text, p_reason text)
RETURNS TABLE (verdict text, token text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_for record;
    v_verdict text;
BEGIN
    SELECT * INTO v_for FROM shield.for_case(p_tenant, p_token, p_alias, p_case, p_reason);
    v_verdict := coalesce(v_for.verdict, 'HELD');
    IF v_for.verdict IS NULL THEN
        INSERT INTO shield.holds (tenant_id, token, case_id, reason)
            VALUES (v_for.tenant_id, v_for.token, btrim(p_case), btrim(p_reason))
            ON CONFLICT (tenant_id, token, case_id) WHERE released_at IS NULL DO NOTHING;
        IF NOT FOUND THEN
            v_verdict := 'UNCHANGED';
        END IF;
    END IF;
    PERFORM shield.note_token(v_for.tenant_id, CASE v_verdict WHEN 'HELD' THEN 'token.held' ELSE 'token.hold_refused' END,
        v_for.token, p_case, p_reason, CASE v_verdict WHEN 'HELD' THEN '{}' ELSE jsonb_build_object('reason', lower(v_verdict)) END);
    RETURN QUERY SELECT v_verdict, v_for.token;
END
$$;

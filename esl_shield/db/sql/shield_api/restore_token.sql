-- Steward: let a revoked token be called again. A seeder, who revokes, cannot. Verdicts: RESTORED, UNCHANGED (it was not
-- revoked), UNKNOWN, REFUSED (case or reason is unfit).
CREATE OR REPLACE FUNCTION shield_api.restore_token(p_tenant text, p_token text, p_alias text, p_case text, p_reason text)
RETURNS TABLE (verdict text, token text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_for record;
    v_verdict text;
BEGIN
    SELECT * INTO v_for FROM shield.for_case(p_tenant, p_token, p_alias, p_case, p_reason);
    v_verdict := coalesce(v_for.verdict, 'RESTORED');
    IF v_for.verdict IS NULL THEN
        UPDATE shield.tokens k SET status = 'active'
            WHERE k.tenant_id = v_for.tenant_id AND k.token = v_for.token AND k.status = 'revoked';
        IF NOT FOUND THEN
            v_verdict := 'UNCHANGED';
        END IF;
    END IF;
    PERFORM shield.note_token(v_for.tenant_id,
        CASE v_verdict WHEN 'RESTORED' THEN 'token.restored' ELSE 'token.restore_refused' END, v_for.token, p_case, p_reason,
        CASE v_verdict WHEN 'RESTORED' THEN '{}' ELSE jsonb_build_object('reason', lower(v_verdict)) END);
    RETURN QUERY SELECT v_verdict, v_for.token;
END
$$;

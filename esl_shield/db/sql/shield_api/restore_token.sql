-- Steward: let a revoked token be called again. A seeder, who revokes, cannot. Verdicts: RESTORED, UNCHANGED (it was not
-- revoked), UNKNOWN, REFUSED (case or reason is unfit).
CREATE OR REPLACE FUNCTION shield_api.restore_token(p_tenant text, p_token text, p_alias text, p_case text, p_reason text)
RETURNS TABLE (verdict text, token text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_tenant_id int;
    v_token text;
    v_verdict text := 'RESTORED';
BEGIN
    SELECT t.id INTO v_tenant_id FROM shield.tenants t WHERE t.name = p_tenant;
    v_token := shield.named_token(v_tenant_id, p_token, p_alias);
    IF v_token IS NULL THEN
        v_verdict := 'UNKNOWN';
    ELSIF NOT shield.case_text(p_case, p_reason) THEN
        v_verdict := 'REFUSED';
    ELSE
        UPDATE shield.tokens k SET status = 'active'
            WHERE k.tenant_id = v_tenant_id AND k.token = v_token AND k.status = 'revoked';
        IF NOT FOUND THEN
            v_verdict := 'UNCHANGED';
        END IF;
    END IF;
    PERFORM shield.note_token(v_tenant_id,
        CASE v_verdict WHEN 'RESTORED' THEN 'token.restored' ELSE 'token.restore_refused' END, v_token, p_case, p_reason,
        CASE v_verdict WHEN 'RESTORED' THEN '{}' ELSE jsonb_build_object('reason', lower(v_verdict)) END);
    RETURN QUERY SELECT v_verdict, v_token;
END
$$;

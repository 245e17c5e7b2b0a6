-- Steward: a token's own cap of calls in 24 hours in place of its tenant's. p_per_day: NULL, the tenant's again; the largest
-- int, none. Verdicts: SET, UNCHANGED, UNKNOWN, REFUSED (no such cap).
CREATE OR REPLACE FUNCTION shield_api.set_token_cap(p_tenant text, p_token text, p_per_day int)
RETURNS TABLE (verdict text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_tenant_id int;
    v_token record;
    v_verdict text;
    v_rowless boolean := false;
BEGIN
    SELECT t.id INTO v_tenant_id FROM shield.tenants t WHERE t.name = p_tenant;
    SELECT k.token, k.per_day INTO v_token FROM shield.tokens k
        WHERE k.tenant_id = v_tenant_id AND k.token = p_token FOR UPDATE;
    IF v_token.token IS NULL THEN
        SELECT r.token::shield.token, r.per_day::shield.calls_a_day INTO v_token FROM shield.rowless_token(v_tenant_id, p_token) r;
        v_rowless := v_token.token IS NOT NULL;
    END IF;
    v_verdict := CASE
        WHEN v_token.token IS NULL THEN 'UNKNOWN'
        WHEN p_per_day < 0 THEN 'REFUSED'
        WHEN v_token.per_day IS NOT DISTINCT FROM p_per_day THEN 'UNCHANGED'
        ELSE 'SET'
    END;
    IF v_verdict = 'SET' AND v_rowless THEN
        INSERT INTO shield.rowless_tokens (tenant_id, token, per_day) VALUES (v_tenant_id, p_token, p_per_day)
            ON CONFLICT (tenant_id, token) DO UPDATE SET per_day = excluded.per_day;
    ELSIF v_verdict = 'SET' THEN
        UPDATE shield.tokens k SET per_day = p_per_day WHERE k.tenant_id = v_tenant_id AND k.token = p_token;
    END IF;
    INSERT INTO shield.audit_events (tenant_id, kind, token, detail) VALUES (v_tenant_id,
        CASE v_verdict WHEN 'SET' THEN 'token.cap_set' ELSE 'token.cap_refused' END, v_token.token,
        CASE v_verdict WHEN 'SET' THEN jsonb_build_object('per_day', p_per_day, 'before', v_token.per_day)
            ELSE jsonb_build_object('reason', lower(v_verdict)) END);
    RETURN QUERY SELECT v_verdict;
END
$$;

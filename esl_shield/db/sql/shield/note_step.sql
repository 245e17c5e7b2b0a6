-- The audit event of one step of a reveal. p_more says what this step adds: a refusal's reason, a number of calls.
CREATE OR REPLACE FUNCTION shield.note_step(p_kind text, p_reveal uuid, p_more jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_reveal shield.reveals;
BEGIN
    SELECT r.* INTO v_reveal FROM shield.reveals r WHERE r.id = p_reveal;
    INSERT INTO shield.audit_events (tenant_id, kind, token, detail) VALUES (
        v_reveal.tenant_id, p_kind, v_reveal.token,
        jsonb_strip_nulls(jsonb_build_object('reveal', p_reveal, 'of', v_reveal.kind, 'case', v_reveal.case_id,
            'requester', v_reveal.requester, 'approver', v_reveal.approver)) || p_more);
END
$$;

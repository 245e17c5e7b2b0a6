-- Revealer: end a request that was not opened, as one who may approve or as the one who made it. Verdict DENIED or REFUSED.
CREATE OR REPLACE FUNCTION shield_api.deny_reveal(p_reveal uuid) RETURNS TABLE (verdict text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_paced CONSTANT boolean := shield.take_step();
    v_reveal shield.reveals;
    v_problem text;
BEGIN
    SELECT r.* INTO v_reveal FROM shield.reveals r WHERE r.id = p_reveal FOR UPDATE;
    v_problem := CASE
        WHEN NOT v_paced THEN 'rate'
        WHEN v_reveal.id IS NULL THEN 'reveal_unknown'
        WHEN v_reveal.requester <> session_user::text
            AND shield.revealer(session_user::text, 'approve', v_reveal.tenant_id) IS NULL THEN 'right_missing'
        WHEN v_reveal.state NOT IN ('DRAFT', 'REQUESTED', 'APPROVED') THEN 'state_' || lower(v_reveal.state)
        WHEN v_reveal.expires_at <= clock_timestamp() THEN 'expired'
    END;
    IF v_problem IS NOT NULL THEN
        PERFORM shield.note_step('reveal.refused', v_reveal.id, jsonb_build_object('step', 'deny', 'reason', v_problem));
        RETURN QUERY SELECT 'REFUSED';
        RETURN;
    END IF;
    UPDATE shield.reveals r SET state = 'DENIED', denied_by = session_user, number_index = NULL WHERE r.id = p_reveal;
    DELETE FROM shield.reveal_tickets t WHERE t.reveal = p_reveal;
    PERFORM shield.note_step('reveal.denied', p_reveal, '{}');
    RETURN QUERY SELECT 'DENIED';
END
$$;

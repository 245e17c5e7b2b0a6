-- Revealer: approve another person's request. For kind 'calls' the approval becomes good when the resolver is told the same
-- number with the ticket. Verdict ALLOWED or REFUSED; why is in the audit event only.
CREATE OR REPLACE FUNCTION shield_api.approve_reveal(p_reveal uuid, p_ticket_hash bytea) RETURNS TABLE (verdict text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_paced CONSTANT boolean := shield.take_step();
    v_reveal shield.reveals;
    v_person text;
    v_problem text;
BEGIN
    SELECT r.* INTO v_reveal FROM shield.reveals r WHERE r.id = p_reveal FOR UPDATE;
    v_person := shield.revealer(session_user::text, 'approve', v_reveal.tenant_id);
    v_problem := CASE
        WHEN NOT v_paced THEN 'rate'
        WHEN v_reveal.id IS NULL THEN 'reveal_unknown'
        WHEN v_person IS NULL THEN 'right_missing'
        WHEN v_reveal.requester = session_user::text OR lower(v_reveal.requester_person) = lower(v_person) THEN 'same_person'
        WHEN v_reveal.state <> 'REQUESTED' THEN 'state_' || lower(v_reveal.state)
        WHEN v_reveal.expires_at <= clock_timestamp() THEN 'expired'
        WHEN shield.revealer(v_reveal.requester, 'request', v_reveal.tenant_id) IS NULL THEN 'requester_right_missing'
        WHEN v_reveal.kind = 'calls' AND octet_length(p_ticket_hash) IS DISTINCT FROM 32 THEN 'form'
    END;
    IF v_problem IS NOT NULL THEN
        PERFORM shield.note_step('reveal.refused', v_reveal.id,
            jsonb_build_object('step', 'approve', 'reason', v_problem));
        RETURN QUERY SELECT 'REFUSED';
        RETURN;
    END IF;
    IF v_reveal.kind = 'calls' THEN
        PERFORM shield.draw_ticket(p_reveal, v_reveal.tenant_id, 'approve', p_ticket_hash);
        PERFORM shield.note_step('reveal.approving', p_reveal, '{}');
    ELSE
        UPDATE shield.reveals r SET state = 'APPROVED', approver = session_user, approver_person = v_person,
            approved_at = clock_timestamp() WHERE r.id = p_reveal;
        PERFORM shield.note_step('reveal.approved', p_reveal, '{}');
    END IF;
    RETURN QUERY SELECT 'ALLOWED';
END
$$;

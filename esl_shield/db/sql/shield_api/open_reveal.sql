-- Revealer: use an approved request of one's own. It is used whatever happens next; the resolver gives the answer to whoever
-- brings the ticket within 30 seconds. Both people must have their rights still. Verdict ALLOWED or REFUSED.
CREATE OR REPLACE FUNCTION shield_api.open_reveal(p_reveal uuid, p_ticket_hash bytea)
RETURNS TABLE (verdict text, opened_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_paced CONSTANT boolean := shield.take_step();
    v_now CONSTANT timestamptz := clock_timestamp();
    v_reveal shield.reveals;
    v_problem text;
BEGIN
    SELECT r.* INTO v_reveal FROM shield.reveals r WHERE r.id = p_reveal FOR UPDATE;
    v_problem := CASE
        WHEN NOT v_paced THEN 'rate'
        WHEN v_reveal.id IS NULL THEN 'reveal_unknown'
        WHEN v_reveal.requester <> session_user::text THEN 'other_requester'
        WHEN v_reveal.state <> 'APPROVED' THEN 'state_' || lower(v_reveal.state)
        WHEN v_reveal.expires_at <= clock_timestamp() THEN 'expired'
        WHEN shield.revealer(session_user::text, 'request', v_reveal.tenant_id) IS NULL THEN 'right_missing'
        WHEN shield.revealer(v_reveal.approver, 'approve', v_reveal.tenant_id) IS NULL THEN 'approver_right_missing'
        WHEN octet_length(p_ticket_hash) IS DISTINCT FROM 32 THEN 'form'
    END;
    IF v_problem IS NOT NULL THEN
        PERFORM shield.note_step('reveal.refused', v_reveal.id, jsonb_build_object('step', 'open', 'reason', v_problem));
        RETURN QUERY SELECT 'REFUSED', NULL::timestamptz;
        RETURN;
    END IF;
    UPDATE shield.reveals r SET state = 'OPENED', opened_at = v_now WHERE r.id = p_reveal;
    PERFORM shield.draw_ticket(p_reveal, v_reveal.tenant_id, 'open', p_ticket_hash);
    PERFORM shield.note_step('reveal.opened', p_reveal, '{}');
    RETURN QUERY SELECT 'ALLOWED', v_now;
END
$$;

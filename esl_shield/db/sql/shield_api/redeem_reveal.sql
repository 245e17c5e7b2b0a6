-- Resolver: exchange the ticket of an opened reveal for what it is about: the ciphertext behind a token, or the token and the
-- latest 1000 calls of a number (total says how many there are). The ticket is gone whatever the answer; the event is
-- written before anybody is told. No rows unless everything is right. Revoked and expired tokens have numbers too.
CREATE OR REPLACE FUNCTION shield_api.redeem_reveal(p_ticket_hash bytea)
RETURNS TABLE (reveal uuid, tenant_id int, kind text, token text, ciphertext bytea, key_version int, total int, calls jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    v_ticket record;
    v_reveal shield.reveals;
    v_token record;
    v_total int;
    v_calls jsonb;
    v_problem text;
BEGIN
    SELECT t.* INTO v_ticket FROM shield.take_ticket(p_ticket_hash) t;
    SELECT r.* INTO v_reveal FROM shield.reveals r WHERE r.id = v_ticket.reveal;
    SELECT k.token::text, k.ciphertext, k.key_version INTO v_token FROM shield.tokens k
        WHERE k.tenant_id = v_reveal.tenant_id AND k.token = CASE v_reveal.kind WHEN 'number' THEN v_reveal.token
            ELSE (SELECT n.token FROM shield.number_refs n WHERE n.tenant_id = v_reveal.tenant_id
                AND n.number_index = v_reveal.number_index AND n.index_version = v_reveal.index_version) END;
    v_problem := CASE
        WHEN v_ticket.problem IS NOT NULL THEN v_ticket.problem
        WHEN v_ticket.step <> 'open' THEN 'step_differs'
        WHEN v_reveal.state <> 'OPENED' THEN 'state_' || lower(v_reveal.state)
        WHEN v_reveal.kind = 'number' AND v_token.token IS NULL THEN 'token_gone'
    END;
    IF v_problem IS NOT NULL THEN
        PERFORM shield.note_step('reveal.refused', v_reveal.id,
            jsonb_build_object('step', 'disclose', 'reason', v_problem));
        RETURN;
    END IF;
    IF v_reveal.kind = 'calls' THEN
        SELECT count(*) INTO v_total FROM shield.calls c
            WHERE c.tenant_id = v_reveal.tenant_id AND c.token = v_token.token;
        SELECT coalesce(jsonb_agg(to_jsonb(l) ORDER BY l.started_at, l.id), '[]') INTO v_calls FROM (
            SELECT c.id, c.agent, c.token, c.alias, c.state, c.hangup_cause, c.started_at, c.answered_at, c.ended_at,
                CASE WHEN c.ended_at >= c.answered_at THEN extract(epoch FROM (c.ended_at - c.answered_at))::numeric(12, 3) END AS talk_s
            FROM shield.calls c
            WHERE c.tenant_id = v_reveal.tenant_id AND c.token = v_token.token
            ORDER BY c.started_at DESC, c.id DESC LIMIT 1000) l;
    END IF;
    UPDATE shield.reveals r SET disclosed_at = clock_timestamp(), token = v_token.token, number_index = NULL
        WHERE r.id = v_reveal.id;
    PERFORM shield.note_step('reveal.disclosed', v_reveal.id,
        jsonb_strip_nulls(jsonb_build_object('calls', v_total)));
    RETURN QUERY SELECT v_reveal.id, v_reveal.tenant_id, v_reveal.kind::text, v_token.token,
        CASE v_reveal.kind WHEN 'number' THEN v_token.ciphertext::bytea END, v_token.key_version::int, v_total, v_calls;
END
$$;

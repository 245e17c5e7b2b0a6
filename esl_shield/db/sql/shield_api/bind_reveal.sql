-- Resolver: the blind index of the number that came with a ticket, under each index key that look-ups need, newest first.
-- The requester's makes the draft a request: kept is the one a token is found by. The approver's must be the same and makes
-- it approved. The ticket is gone whatever the answer.
DROP FUNCTION IF EXISTS shield_api.bind_reveal(bytea, bytea, int);
CREATE OR REPLACE FUNCTION shield_api.bind_reveal(p_ticket_hash bytea, p_indexes bytea[], p_versions int[]) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_ticket record;
    v_reveal shield.reveals;
    v_person text;
    v_kept record;
    v_problem text;
BEGIN
    SELECT t.* INTO v_ticket FROM shield.take_ticket(p_ticket_hash) t;
    SELECT r.* INTO v_reveal FROM shield.reveals r WHERE r.id = v_ticket.reveal;
    v_person := shield.revealer(v_ticket.login, v_ticket.step, v_reveal.tenant_id);
    v_problem := CASE
        WHEN v_ticket.problem IS NOT NULL THEN v_ticket.problem
        WHEN v_ticket.step = 'open' THEN 'step_differs'
        WHEN v_reveal.state <> CASE v_ticket.step WHEN 'request' THEN 'DRAFT' ELSE 'REQUESTED' END
            THEN 'state_' || lower(v_reveal.state)
        WHEN v_reveal.expires_at <= clock_timestamp() THEN 'expired'
        WHEN v_person IS NULL THEN 'right_missing'
        WHEN octet_length(p_indexes[1]) IS DISTINCT FROM 32 THEN 'form'
        WHEN v_ticket.step = 'approve' AND NOT EXISTS (SELECT FROM unnest(p_indexes, p_versions) AS a (index, version)
            WHERE a.index = v_reveal.number_index AND a.version = v_reveal.index_version) THEN 'number_differs'
    END;
    IF v_problem IS NOT NULL THEN
        PERFORM shield.note_step('reveal.refused', v_reveal.id,
            jsonb_build_object('step', 'number', 'reason', v_problem, 'by', v_ticket.login));
        RETURN false;
    ELSIF v_ticket.step = 'request' THEN
        SELECT a.index, a.version INTO v_kept FROM unnest(p_indexes, p_versions) WITH ORDINALITY AS a (index, version, ord)
            ORDER BY (SELECT n.token FROM shield.number_refs n WHERE n.tenant_id = v_reveal.tenant_id
                AND n.number_index = a.index AND n.index_version = a.version) IS NULL, a.ord LIMIT 1;
        UPDATE shield.reveals r SET state = 'REQUESTED', number_index = v_kept.index, index_version = v_kept.version
            WHERE r.id = v_reveal.id;
        PERFORM shield.note_step('reveal.requested', v_reveal.id, '{}');
    ELSE
        UPDATE shield.reveals r SET state = 'APPROVED', approver = v_ticket.login, approver_person = v_person,
            approved_at = clock_timestamp() WHERE r.id = v_reveal.id;
        PERFORM shield.note_step('reveal.approved', v_reveal.id, '{}');
    END IF;
    RETURN true;
END
$$;

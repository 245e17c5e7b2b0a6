-- Takes a ticket away and answers the reveal and the step it was for, the reveal's row locked; why not, if it is good for
-- nothing. Of many who bring the same ticket one finds it. Everybody locks the reveal before its tickets.
CREATE OR REPLACE FUNCTION shield.take_ticket(p_ticket_hash bytea)
RETURNS TABLE (reveal uuid, step text, login text, problem text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_ticket shield.reveal_tickets;
BEGIN
    PERFORM FROM shield.reveals r WHERE r.id = (SELECT t.reveal FROM shield.reveal_tickets t
        WHERE t.ticket_hash = p_ticket_hash) FOR UPDATE;
    DELETE FROM shield.reveal_tickets t WHERE t.ticket_hash = p_ticket_hash RETURNING t.* INTO v_ticket;
    RETURN QUERY SELECT v_ticket.reveal, v_ticket.step::text, v_ticket.login, CASE
        WHEN v_ticket.reveal IS NULL THEN 'ticket_unknown'
        WHEN v_ticket.expires_at <= clock_timestamp() THEN 'ticket_expired' END;
END
$$;

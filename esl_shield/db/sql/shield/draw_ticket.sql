-- Keeps the hash of a ticket for one step of a reveal, for 30 seconds. The caller holds the reveal's row; an earlier ticket
-- of the same reveal ends. Others' expired tickets are swept along the way.
CREATE OR REPLACE FUNCTION shield.draw_ticket(p_reveal uuid, p_tenant_id int, p_step text, p_ticket_hash bytea) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM shield.reveal_tickets t WHERE t.reveal = p_reveal;
    DELETE FROM shield.reveal_tickets t WHERE t.ticket_hash IN (SELECT o.ticket_hash FROM shield.reveal_tickets o
        WHERE o.expires_at <= clock_timestamp() FOR UPDATE SKIP LOCKED);
    INSERT INTO shield.reveal_tickets (ticket_hash, reveal, tenant_id, step, login, expires_at)
        VALUES (p_ticket_hash, p_reveal, p_tenant_id, p_step, session_user, clock_timestamp() + interval '30 seconds');
END
$$;

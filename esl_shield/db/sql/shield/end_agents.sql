-- Whoever talked in a call stops at its end; who made it talked from its answer, also if nobody told us of that.
CREATE OR REPLACE FUNCTION shield.end_agents(
    p_call uuid, p_started_at timestamptz, p_answered_at timestamptz, p_ended_at timestamptz
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_answered_at IS NOT NULL THEN
        INSERT INTO shield.call_agents (call, call_started_at, tenant_id, position, agent, channel, from_at)
            SELECT c.id, c.started_at, c.tenant_id, 1, c.agent, c.channel, p_answered_at FROM shield.calls c
            WHERE c.id = p_call AND c.started_at = p_started_at AND c.direction = 'outbound' AND c.referred_by IS NULL
            ON CONFLICT (call, position, call_started_at) DO NOTHING;
    END IF;
    UPDATE shield.call_agents g SET until_at = greatest(p_ended_at, g.from_at)
        WHERE g.call = p_call AND g.call_started_at = p_started_at AND g.until_at IS NULL;
END
$$;

-- Canary: what became of this agent's calls to these tokens since the run started. redeemed: the number was handed out for
-- the call and not refused as a destination. Events are found by their id, which has an index.
CREATE OR REPLACE FUNCTION shield_api.canary_calls(
    p_tenant_id int, p_agent text, p_tokens text[], p_after_event bigint, p_started_at timestamptz
)
RETURNS TABLE (call uuid, token text, state text, hangup_cause text, sip_code int, gateway text, delivery text,
    attempts int, started_at timestamptz, ringing_at timestamptz, answered_at timestamptz, ended_at timestamptz,
    redeemed boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT c.id, c.token::text, c.state::text, c.hangup_cause::text, c.sip_code::int, c.gateway::text, c.delivery::text,
        c.attempts::int, c.started_at, c.ringing_at, c.answered_at, c.ended_at,
        coalesce((SELECT bool_or(e.kind = 'permit.redeemed') AND NOT bool_or(e.kind = 'permit.refused_number')
            FROM shield.audit_events e
            WHERE e.id > p_after_event AND e.at >= p_started_at AND e.call = c.id), false)
    FROM shield.calls c
    WHERE c.tenant_id = p_tenant_id AND c.agent::text = p_agent AND c.token::text = ANY (p_tokens)
        AND c.started_at >= p_started_at
    ORDER BY c.started_at
$$;

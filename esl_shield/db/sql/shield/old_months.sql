-- The months that are past retention, oldest first: attached ones, and detached ones when p_drop. A month counts from its
-- last moment; logs stay 6 months and audit events 12 whatever is asked.
CREATE OR REPLACE FUNCTION shield.old_months(p_calls_months int, p_audit_months int, p_drop boolean)
RETURNS TABLE (name text, parent text, attached boolean)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $$
BEGIN
    RETURN QUERY SELECT c.relname::text, m.parts[2], m.parts[1] IS NULL
        FROM pg_class c CROSS JOIN LATERAL regexp_match(c.relname,
            '^(detached_)?(calls|call_agents|audit_events)_([0-9]{4})_(0[1-9]|1[0-2])$') AS m (parts)
        WHERE c.relnamespace = 'shield'::regnamespace AND c.relkind = 'r' AND m.parts IS NOT NULL
        AND c.relispartition = (m.parts[1] IS NULL) AND (p_drop OR c.relispartition)
        AND make_timestamptz(m.parts[3]::int, m.parts[4]::int, 1, 0, 0, 0) + interval '1 month' <= now() - make_interval(
            months => CASE m.parts[2] WHEN 'audit_events' THEN greatest(coalesce(p_audit_months, 12), 12)
                ELSE greatest(coalesce(p_calls_months, 6), 6) END)
        ORDER BY m.parts[3], m.parts[4], m.parts[2];
END
$$;

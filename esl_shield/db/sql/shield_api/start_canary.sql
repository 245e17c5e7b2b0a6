-- Canary: writes that a run of canary calls starts and returns the event's id and moment, behind which canary_calls looks.
-- No row for a tenant this login does not see.
CREATE OR REPLACE FUNCTION shield_api.start_canary(p_tenant text, p_run uuid, p_calls int)
RETURNS TABLE (tenant_id int, after_event bigint, started_at timestamptz)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO shield.audit_events AS e (tenant_id, kind, detail)
        SELECT t.id, 'canary.started', jsonb_build_object('run', p_run, 'calls', p_calls)
        FROM shield.tenants t WHERE t.name = p_tenant
        RETURNING e.tenant_id, e.id, e.at
$$;

-- The column a table is partitioned by.
CREATE OR REPLACE FUNCTION shield.month_column(p_table text) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN CASE p_table WHEN 'calls' THEN 'started_at' WHEN 'call_agents' THEN 'call_started_at'
        WHEN 'audit_events' THEN 'at' END;
END
$$;

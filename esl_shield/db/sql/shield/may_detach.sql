-- Whether a month of calls, their agents or audit events may leave its table: the one place to add what it must wait for.
CREATE OR REPLACE FUNCTION shield.may_detach(p_table text, p_partition text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN p_table IN ('calls', 'call_agents', 'audit_events') AND p_partition IS NOT NULL;
END
$$;

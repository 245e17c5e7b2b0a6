-- Whether a month of calls, their agents or audit events may leave its table: the one place to add what it must wait for.
-- Where events are sealed, those of the month all are: a proof needs no event that nobody has in a block.
CREATE OR REPLACE FUNCTION shield.may_detach(p_table text, p_partition text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_table = 'audit_events' AND EXISTS (SELECT FROM shield.audit_blocks) THEN
        RETURN shield.is_sealed(to_date(right(p_partition, 7), 'YYYY_MM') + interval '1 month');
    END IF;
    RETURN p_table IN ('calls', 'call_agents', 'audit_events') AND p_partition IS NOT NULL;
END
$$;

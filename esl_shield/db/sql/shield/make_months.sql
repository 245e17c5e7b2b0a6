-- Makes the partitions of calls, their agents and audit events for this month and p_ahead more, and answers how many it made. Rows that
-- meanwhile went to the default partition are moved into their month.
CREATE OR REPLACE FUNCTION shield.make_months(p_ahead int) RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $$
DECLARE
    v_made int := 0;
    v_table text;
    v_month timestamptz;
    v_first timestamptz;
BEGIN
    FOREACH v_table IN ARRAY ARRAY['calls', 'call_agents', 'audit_events'] LOOP
        v_first := least(date_trunc('month', now()), shield.oldest_stray(v_table));
        FOR v_month IN SELECT generate_series(v_first, date_trunc('month', now()) + make_interval(months => p_ahead),
                interval '1 month') LOOP
            IF to_regclass(format('shield.%I', v_table || to_char(v_month, '_YYYY_MM'))) IS NULL THEN
                PERFORM shield.make_month(v_table, v_month);
                v_made := v_made + 1;
            END IF;
        END LOOP;
    END LOOP;
    RETURN v_made;
END
$$;

-- The month of the oldest row in a table's default partition, NULL when that is empty. A file without a page is empty:
-- looking further takes a lock that calls would queue for.
CREATE OR REPLACE FUNCTION shield.oldest_stray(p_table text) RETURNS timestamptz
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $$
DECLARE
    v_default CONSTANT text := p_table || '_default';
    v_oldest timestamptz;
BEGIN
    IF pg_relation_size(format('shield.%I', v_default)::regclass) = 0 THEN
        RETURN NULL;
    END IF;
    EXECUTE format('ALTER TABLE shield.%I NO FORCE ROW LEVEL SECURITY', v_default);
    EXECUTE format('SELECT date_trunc(''month'', min(%I)) FROM shield.%I', shield.month_column(p_table), v_default)
        INTO v_oldest;
    EXECUTE format('ALTER TABLE shield.%I FORCE ROW LEVEL SECURITY', v_default);
    RETURN v_oldest;
END
$$;

-- Makes one month's partition, with the rows the default partition holds of that month. Partitions have row-level
-- security without a policy: reached directly they show nothing, reached through their parent its policies count.
CREATE OR REPLACE FUNCTION shield.make_month(p_table text, p_month timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $$
DECLARE
    v_partition CONSTANT text := p_table || to_char(p_month, '_YYYY_MM');
    v_default CONSTANT text := p_table || '_default';
    v_next CONSTANT timestamptz := p_month + interval '1 month';
    v_column CONSTANT text := shield.month_column(p_table);
    v_columns text;
BEGIN
    SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) INTO v_columns FROM pg_attribute a
        WHERE a.attrelid = format('shield.%I', p_table)::regclass
        AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '';
    EXECUTE format('CREATE TABLE shield.%I (LIKE shield.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING GENERATED)',
        v_partition, p_table);
    EXECUTE format('ALTER TABLE shield.%I NO FORCE ROW LEVEL SECURITY', v_default);
    EXECUTE format('WITH moved AS (DELETE FROM shield.%1$I WHERE %2$I >= %3$L AND %2$I < %4$L RETURNING %5$s)
        INSERT INTO shield.%6$I (%5$s) SELECT %5$s FROM moved',
        v_default, v_column, p_month, v_next, v_columns, v_partition);
    EXECUTE format('ALTER TABLE shield.%I FORCE ROW LEVEL SECURITY', v_default);
    EXECUTE format('ALTER TABLE shield.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', v_partition);
    EXECUTE format('ALTER TABLE shield.%I ATTACH PARTITION shield.%I FOR VALUES FROM (%L) TO (%L)',
        p_table, v_partition, p_month, v_next);
END
$$;

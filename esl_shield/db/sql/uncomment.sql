-- Takes the comments off the columns of views, so that none outlives a change: dba/*.sql and comments.sql write them again.
DO $$
DECLARE
    v_column record;
BEGIN
    FOR v_column IN SELECT d.objoid::regclass AS view, a.attname FROM pg_description d
            JOIN pg_attribute a ON a.attrelid = d.objoid AND a.attnum = d.objsubid JOIN pg_class c ON c.oid = d.objoid
            WHERE d.classoid = 'pg_class'::regclass AND d.objsubid > 0 AND c.relkind = 'v'
            AND c.relnamespace = 'dba'::regnamespace LOOP
        EXECUTE format('COMMENT ON COLUMN %s.%I IS NULL', v_column.view, v_column.attname);
    END LOOP;
END
$$;

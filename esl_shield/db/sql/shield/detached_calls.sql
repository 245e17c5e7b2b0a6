-- The months of calls that have left their table and were not dropped yet.
CREATE OR REPLACE FUNCTION shield.detached_calls() RETURNS SETOF regclass
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT c.oid::regclass FROM pg_class c WHERE c.relnamespace = 'shield'::regnamespace AND c.relkind = 'r'
        AND c.relname ~ '^detached_calls_[0-9]{4}_(0[1-9]|1[0-2])$' ORDER BY c.relname
$$;

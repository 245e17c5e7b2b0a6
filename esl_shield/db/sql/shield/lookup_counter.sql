-- The name of the sequence that says until when a login's look-ups are used up (microseconds since 1970).
CREATE OR REPLACE FUNCTION shield.lookup_counter(p_login text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT 'lookups_' || md5(p_login)
$$;

-- The advisory lock the one sealer of this database holds.
CREATE OR REPLACE FUNCTION shield.sealing_lock() RETURNS bigint
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT 28555882277462380
$$;

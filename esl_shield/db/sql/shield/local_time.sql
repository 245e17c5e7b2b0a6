-- What clock and calendar say in a time zone; NULL for a zone that is not known.
CREATE OR REPLACE FUNCTION shield.local_time(p_at timestamptz, p_zone text) RETURNS timestamp
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN CASE WHEN p_zone ~ '^([A-Za-z_]+(/[A-Za-z0-9_+-]+){1,2}|UTC)$' THEN p_at AT TIME ZONE p_zone END;
EXCEPTION
    WHEN invalid_parameter_value THEN
        RETURN NULL;
END
$$;

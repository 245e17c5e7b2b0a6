-- The hours of one weekday (0: Monday) as people write them, such as 09:00-12:00 13:00-20:00; none for a day without.
CREATE OR REPLACE FUNCTION shield.day_hours(p_hours int4multirange, p_day int) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN coalesce((SELECT string_agg(format('%s-%s', to_char(make_interval(mins => lower(r) - p_day * 1440), 'HH24:MI'),
            CASE upper(r) - p_day * 1440 WHEN 1440 THEN '24:00'
                ELSE to_char(make_interval(mins => upper(r) - p_day * 1440), 'HH24:MI') END), ' ' ORDER BY lower(r))
        FROM unnest(p_hours * int4multirange(int4range(p_day * 1440, (p_day + 1) * 1440))) r), 'none');
END
$$;

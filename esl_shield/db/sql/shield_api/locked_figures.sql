-- Sealer: how many agents may not call and how many logins may not mint until somebody unlocks them, as site_figures answers
-- its figures; a name of its own, because sealers of the release before know no such figure.
CREATE OR REPLACE FUNCTION shield_api.locked_figures() RETURNS TABLE (figure text, label text, value double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT 'locked', 'agents', count(*)::double precision FROM shield.agent_locks
    UNION ALL
    SELECT 'locked', 'logins', count(*)::double precision FROM shield.logins l WHERE l.locked_at IS NOT NULL
$$;

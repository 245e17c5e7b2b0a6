-- Reaper: the place the audit trail has reached, for watch_minting to begin at later.
CREATE OR REPLACE FUNCTION shield_api.mint_mark() RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(pg_sequence_last_value('shield.audit_event_ids'), 0)
$$;

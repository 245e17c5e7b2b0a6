-- Sealer: where the chain ends, and whether this session is the one that goes on with it. The lock is the session's: it
-- goes when the connection does. The database is named by what initdb drew, because transactions of another cluster,
-- into which a dump was restored, are numbered anew.
CREATE OR REPLACE FUNCTION shield_api.sealing_state()
RETURNS TABLE (mine boolean, database text, number bigint, header text, signature bytea)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_mine CONSTANT boolean := pg_try_advisory_lock(shield.sealing_lock());
    v_database CONSTANT text := (SELECT c.system_identifier::text FROM pg_control_system() c);
BEGIN
    PERFORM set_config('jit', 'off', false);  -- the catalog, asked for every block, takes 20 ms to read and 500 to compile for
    RETURN QUERY SELECT v_mine, v_database, b.number, b.header, b.signature
        FROM (SELECT) one LEFT JOIN LATERAL (SELECT * FROM shield.audit_blocks k ORDER BY k.number DESC LIMIT 1) b ON true;
END
$$;

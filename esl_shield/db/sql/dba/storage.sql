CREATE OR REPLACE VIEW dba.storage AS
SELECT c.relname::text AS name, p.relname::text AS partition_of, c.relpersistence = 'u' AS unlogged,
    pg_total_relation_size(c.oid) AS bytes, pg_indexes_size(c.oid) AS index_bytes,
    nullif(c.reltuples, -1)::bigint AS rows_estimate, s.n_live_tup AS live_rows, s.n_dead_tup AS dead_rows,
    round(s.n_dead_tup::numeric / nullif(s.n_live_tup + s.n_dead_tup, 0), 3) AS dead_part,
    s.last_vacuum, s.last_autovacuum, s.last_autoanalyze, age(c.relfrozenxid) AS xid_age
FROM pg_class c JOIN pg_stat_all_tables s ON s.relid = c.oid
LEFT JOIN pg_inherits i ON i.inhrelid = c.oid LEFT JOIN pg_class p ON p.oid = i.inhparent
WHERE c.relnamespace = 'shield'::regnamespace AND c.relkind = 'r' AND coalesce(
    (SELECT upper_inf(l.scope) FROM shield.logins l WHERE l.login = session_user::text),
    pg_has_role(session_user, 'shield_owner', 'MEMBER'));
COMMENT ON VIEW dba.storage IS 'each table and partition: size, estimated rows, dead rows, vacuum. For logins that see all tenants only, as a table holds the rows of many. Cost: asks the file system for each file; counts nothing';
COMMENT ON COLUMN dba.storage.name IS 'the table in schema shield';
COMMENT ON COLUMN dba.storage.partition_of IS 'the table it is a partition of; NULL: of none';
COMMENT ON COLUMN dba.storage.unlogged IS 'whether a crash empties it, on purpose';
COMMENT ON COLUMN dba.storage.bytes IS 'bytes on disk with indexes and TOAST';
COMMENT ON COLUMN dba.storage.index_bytes IS 'bytes of its indexes';
COMMENT ON COLUMN dba.storage.rows_estimate IS 'rows as the last vacuum or analyze saw them, an estimate; NULL: neither has run';
COMMENT ON COLUMN dba.storage.live_rows IS 'rows as the statistics count them, an estimate';
COMMENT ON COLUMN dba.storage.dead_rows IS 'rows that vacuum has yet to remove, an estimate';
COMMENT ON COLUMN dba.storage.dead_part IS 'dead rows as part of all, 0 to 1; NULL: there are no rows';
COMMENT ON COLUMN dba.storage.last_vacuum IS 'when somebody last ran VACUUM; NULL: never, or not since the statistics were reset';
COMMENT ON COLUMN dba.storage.last_autovacuum IS 'when autovacuum last ran; NULL: never, or not since the statistics were reset';
COMMENT ON COLUMN dba.storage.last_autoanalyze IS 'when autovacuum last analysed it; NULL: never, or not since the statistics were reset';
COMMENT ON COLUMN dba.storage.xid_age IS 'transactions since its oldest unfrozen row; autovacuum acts at autovacuum_freeze_max_age';

CREATE OR REPLACE VIEW dba.months AS
SELECT p.relname::text AS name, min(m.month) AS first_month, max(m.month) AS last_month,
    count(*) FILTER (WHERE m.month > date_trunc('month', now() AT TIME ZONE 'UTC')::date) AS months_ahead,
    sum(c.relpages) FILTER (WHERE m.month IS NULL)::bigint AS stray_pages,
    sum(s.n_live_tup) FILTER (WHERE m.month IS NULL)::bigint AS stray_rows,
    (SELECT count(*) FROM pg_class d WHERE d.relnamespace = p.relnamespace AND d.relkind = 'r'
        AND d.relname ~ ('^detached_' || p.relname || '_[0-9]{4}_[0-9]{2}$')) AS detached
FROM pg_class p JOIN pg_inherits i ON i.inhparent = p.oid JOIN pg_class c ON c.oid = i.inhrelid
JOIN pg_stat_all_tables s ON s.relid = c.oid
CROSS JOIN LATERAL (SELECT to_date(substring(c.relname FROM '_([0-9]{4}_[0-9]{2})$'), 'YYYY_MM')) AS m (month)
WHERE p.relnamespace = 'shield'::regnamespace AND p.relkind = 'p' AND c.relkind = 'r'
AND p.relname IN ('calls', 'call_agents', 'audit_events')
GROUP BY p.oid, p.relname, p.relnamespace;
COMMENT ON VIEW dba.months IS 'how far ahead the monthly tables have partitions, and whether rows have strayed into the default one. Cost: none, reads the catalogue';
COMMENT ON COLUMN dba.months.name IS 'the partitioned table in schema shield';
COMMENT ON COLUMN dba.months.first_month IS 'first day of the oldest attached month';
COMMENT ON COLUMN dba.months.last_month IS 'first day of the newest attached month';
COMMENT ON COLUMN dba.months.months_ahead IS 'attached months after the current one, UTC; 0 means the next month goes to the default partition';
COMMENT ON COLUMN dba.months.stray_pages IS 'pages of the default partition at its last vacuum or analyze';
COMMENT ON COLUMN dba.months.stray_rows IS 'rows in the default partition, an estimate; the next `db upgrade` moves them into their months';
COMMENT ON COLUMN dba.months.detached IS 'months taken out and kept as tables of their own';

CREATE OR REPLACE VIEW dba.key_use AS
SELECT t.name AS tenant, coalesce(d.purpose, r.purpose) AS purpose, coalesce(d.version, r.version)::int AS version,
    d.kek_id, d.created_at, coalesce(r.rows, 0) AS rows, d.version IS NULL AS missing,
    CASE WHEN d.version IS NULL THEN NULL WHEN d.destroyed_at IS NOT NULL THEN 'destroyed'
        WHEN d.retired_at IS NOT NULL THEN 'retired'
        WHEN d.version = max(d.version) OVER (PARTITION BY d.tenant_id, d.purpose) THEN 'newest' ELSE 'older' END AS state
FROM shield.data_keys d FULL JOIN (
    SELECT k.tenant_id, 'data' AS purpose, k.key_version AS version, count(*) AS rows
        FROM shield.tokens k GROUP BY k.tenant_id, k.key_version
    UNION ALL SELECT n.tenant_id, 'index', n.index_version, count(*)
        FROM shield.number_refs n GROUP BY n.tenant_id, n.index_version
) r ON r.tenant_id = d.tenant_id AND r.purpose = d.purpose AND r.version = d.version
JOIN shield.tenants t ON t.id = coalesce(d.tenant_id, r.tenant_id);
COMMENT ON VIEW dba.key_use IS 'how many rows depend on each key version, exactly. Cost: reads every token and every number reference once, minutes for 100 million';
COMMENT ON COLUMN dba.key_use.purpose IS 'data: encrypts numbers, rows are tokens; index: finds numbers again, rows are number references';
COMMENT ON COLUMN dba.key_use.version IS 'the version, from 1; the newest is the one that is written with';
COMMENT ON COLUMN dba.key_use.kek_id IS 'fingerprint of the key-encryption key that wraps it; NULL: there is no such key';
COMMENT ON COLUMN dba.key_use.created_at IS 'when the key was made; NULL: there is no such key';
COMMENT ON COLUMN dba.key_use.rows IS 'how many rows were written with it, counted';
COMMENT ON COLUMN dba.key_use.missing IS 'true: rows depend on a key the database does not hold';
COMMENT ON COLUMN dba.key_use.state IS 'newest: written with; older: read until every row left it; retired: an index key no look-up uses; destroyed; NULL: there is no such key';

CREATE OR REPLACE VIEW dba.keys AS
SELECT t.name AS tenant, d.purpose, d.version, d.kek_id, d.created_at,
    CASE WHEN d.destroyed_at IS NOT NULL THEN 'destroyed' WHEN d.retired_at IS NOT NULL THEN 'retired'
        WHEN d.version = max(d.version) OVER (PARTITION BY d.tenant_id, d.purpose) THEN 'newest' ELSE 'older' END AS state,
    d.retired_at, d.destroyed_at, coalesce(substring(d.wrapped FROM 1 FOR 1) = '\x02', false) AS in_device
FROM shield.data_keys d JOIN shield.tenants t ON t.id = d.tenant_id;
COMMENT ON VIEW dba.keys IS 'which keys there are and which key-encryption key wraps them; never the keys';
COMMENT ON COLUMN dba.keys.state IS 'newest: written with; older: read until every row left it; retired: an index key no look-up uses; destroyed';
COMMENT ON COLUMN dba.keys.in_device IS 'true: the key lives in the device of the key-encryption key, and what is kept here names it';

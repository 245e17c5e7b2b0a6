CREATE OR REPLACE VIEW dba.keys_in_use AS
SELECT k.tenant, k.purpose, k.version, k.state, k.kek_id, CASE k.purpose
    WHEN 'data' THEN (SELECT count(*) FROM shield.tokens o WHERE o.tenant_id = t.id AND o.key_version = k.version)
    ELSE (SELECT count(*) FROM shield.number_refs n WHERE n.tenant_id = t.id AND n.index_version = k.version)
    END AS rows
FROM dba.keys k JOIN shield.tenants t ON t.name = k.tenant;
COMMENT ON VIEW dba.keys_in_use IS 'what depends on which key version: it counts rows, so it takes as long as a scan for each';

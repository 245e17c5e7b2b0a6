CREATE OR REPLACE VIEW dba.do_not_call AS
SELECT t.name AS tenant, n.entry, n.index_version, n.key_version, n.login, n.added_at, t.list_for_all
FROM shield.do_not_call n JOIN shield.tenants t ON t.id = n.tenant_id;
COMMENT ON VIEW dba.do_not_call IS 'entries of do-not-call lists, without their numbers';

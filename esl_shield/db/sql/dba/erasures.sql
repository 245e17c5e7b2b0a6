CREATE OR REPLACE VIEW dba.erasures AS
SELECT t.name AS tenant, e.token, e.id, e.case_id, e.reason, e.login, e.erased_at, e.erased
FROM shield.erasures e JOIN shield.tenants t ON t.id = e.tenant_id;
COMMENT ON VIEW dba.erasures IS 'tokens whose number was erased, by whom, for which case, and how much was removed';
COMMENT ON COLUMN dba.erasures.id IS 'the erasure''s id, as its certificate names it';

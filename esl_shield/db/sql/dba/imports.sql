CREATE OR REPLACE VIEW dba.imports AS
SELECT e.id, e.at, t.name AS tenant, e.login, (e.detail ->> 'created')::bigint AS created,
    (e.detail ->> 'existing')::bigint AS existing, (e.detail ->> 'aliases')::bigint AS aliases,
    (e.detail ->> 'sought')::bigint AS sought
FROM shield.audit_events e JOIN shield.tenants t ON t.id = e.tenant_id WHERE e.kind = 'tokens.seeded' AND e.call IS NULL;
COMMENT ON VIEW dba.imports IS 'batches of numbers that became tokens or were looked up; an import is many batches of one login. Cost: reads the events of no call, of the time that a condition on "at" leaves';
COMMENT ON COLUMN dba.imports.tenant IS 'whose tokens they are';
COMMENT ON COLUMN dba.imports.login IS 'the seeder''s login';
COMMENT ON COLUMN dba.imports.created IS 'numbers that got a new token';
COMMENT ON COLUMN dba.imports.existing IS 'numbers that had a token before';
COMMENT ON COLUMN dba.imports.aliases IS 'aliases added; NULL: the batch did not say';
COMMENT ON COLUMN dba.imports.sought IS 'numbers that were only looked up, of which existing had a token; NULL: the batch was seeded';
COMMENT ON COLUMN dba.imports.id IS 'the audit event''s id';

CREATE OR REPLACE VIEW dba.dialling AS
SELECT t.name AS tenant, t.requires_permission, t.shows, t.clicks_per_minute FROM shield.tenants t;
COMMENT ON VIEW dba.dialling IS 'how each tenant''s tokens are dialled, and what is shown of a call';

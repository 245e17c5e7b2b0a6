CREATE OR REPLACE VIEW dba.webhooks AS
SELECT t.name AS tenant, w.name, w.url, w.events, w.enabled, w.secret_version, w.rotated_at, w.failures, w.paused_until,
    w.last_problem, w.delivered_at, w.created_at,
    (SELECT count(*) FROM shield.webhook_events e WHERE e.webhook = w.id AND e.dead_at IS NULL) AS waiting,
    (SELECT min(e.at) FROM shield.webhook_events e WHERE e.webhook = w.id AND e.dead_at IS NULL) AS oldest_at,
    (SELECT count(*) FROM shield.webhook_events e WHERE e.webhook = w.id AND e.dead_at IS NOT NULL) AS dead
FROM shield.webhooks w JOIN shield.tenants t ON t.id = w.tenant_id;
COMMENT ON VIEW dba.webhooks IS 'addresses tenants are told events at, and how that goes. Cost: a look at every event that waits or was given up';
COMMENT ON COLUMN dba.webhooks.waiting IS 'events it has not taken yet';
COMMENT ON COLUMN dba.webhooks.oldest_at IS 'when the oldest of them happened; NULL: none waits';
COMMENT ON COLUMN dba.webhooks.dead IS 'events that were given up and can be posted again by a replay';
COMMENT ON COLUMN dba.webhooks.name IS 'its name, one of the tenant''s';

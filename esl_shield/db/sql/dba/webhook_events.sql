CREATE OR REPLACE VIEW dba.webhook_events AS
SELECT e.id, t.name AS tenant, w.name AS webhook, CASE WHEN e.kind ^@ 'call.' THEN e.subject END AS call, e.kind, e.at,
    e.attempts, e.next_at, e.dead_at, e.last_problem
FROM shield.webhook_events e JOIN shield.webhooks w ON w.id = e.webhook JOIN shield.tenants t ON t.id = e.tenant_id;
COMMENT ON VIEW dba.webhook_events IS 'events that wait to be told to webhooks, and those that were given up';
COMMENT ON COLUMN dba.webhook_events.call IS 'the call it is about, dba.calls.id; NULL: none';
COMMENT ON COLUMN dba.webhook_events.id IS 'the event''s id, the same at every attempt';

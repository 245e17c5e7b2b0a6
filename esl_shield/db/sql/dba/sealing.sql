CREATE OR REPLACE VIEW dba.sealing AS
SELECT coalesce((SELECT upper_inf(l.scope) FROM shield.logins l WHERE l.login = session_user::text),
        pg_has_role(session_user, 'shield_owner', 'MEMBER')) AS sees_all,
    n.number AS blocks, n.sealed_at AS last_sealed_at, w.waiting, w.oldest_at AS oldest_unsealed_at,
    extract(epoch FROM clock_timestamp() - w.oldest_at)::double precision AS lag_s
FROM (SELECT) one
LEFT JOIN LATERAL (SELECT b.number, b.sealed_at, b.last_xid, b.last_id, (b.header::jsonb ->> 'floor')::bigint AS floor
    FROM shield.audit_blocks b ORDER BY b.number DESC LIMIT 1) n ON true
LEFT JOIN LATERAL (SELECT count(*) AS waiting, min(u.at) AS oldest_at FROM (SELECT e.at FROM shield.audit_events e
    WHERE (e.xid, e.id) > (coalesce(n.last_xid, '0'::xid8), coalesce(n.last_id, 0))
    AND e.id > coalesce(n.floor, -4611686018427387904) ORDER BY e.xid, e.id LIMIT 100000) u) w ON true
WHERE EXISTS (SELECT FROM shield.logins l WHERE l.login = session_user::text)
    OR pg_has_role(session_user, 'shield_owner', 'MEMBER');
COMMENT ON VIEW dba.sealing IS 'how far events are sealed; waiting counts at most 100,000. Cost: reads the events that wait, by an index';
COMMENT ON COLUMN dba.sealing.sees_all IS 'whether this login sees all tenants; others see no blocks, and their own events only';
COMMENT ON COLUMN dba.sealing.blocks IS 'the newest block''s number; NULL: none is sealed, or none is shown';
COMMENT ON COLUMN dba.sealing.last_sealed_at IS 'when the newest block was sealed; NULL: none is sealed, or none is shown';
COMMENT ON COLUMN dba.sealing.waiting IS 'events not sealed yet, at most 100,000';
COMMENT ON COLUMN dba.sealing.oldest_unsealed_at IS 'when the oldest event began that is not sealed; NULL: all are';
COMMENT ON COLUMN dba.sealing.lag_s IS 'its age in seconds; NULL: all are sealed';

CREATE OR REPLACE VIEW dba.tokens AS
SELECT t.name AS tenant, k.token, a.aliases, a.aliases[1] AS alias, k.status, k.expires_at, k.country, k.region,
    k.time_zone, k.line_type,
    (SELECT coalesce(jsonb_object_agg(l.key, CASE WHEN m.pattern = 'clear' THEN l.value ELSE '***' END), '{}')
        FROM jsonb_each_text(k.labels) l LEFT JOIN shield.label_masks m ON m.tenant_id = k.tenant_id AND m.label = l.key
    )::shield.labels AS labels, k.key_version, k.created_at
FROM shield.tokens k
JOIN shield.tenants t ON t.id = k.tenant_id
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(n.alias::text ORDER BY n.created_at, n.alias), '{}') AS aliases
    FROM shield.aliases n WHERE n.tenant_id = k.tenant_id AND n.token = k.token
        AND n.lot = CASE WHEN k.lot IS NULL THEN -1 ELSE k.lot END
) a;
COMMENT ON VIEW dba.tokens IS 'tokens and what policy knows of them; neither the number nor its ciphertext; labels are hidden unless their mask is clear';
COMMENT ON COLUMN dba.tokens.token IS 'the digits agents dial';
COMMENT ON COLUMN dba.tokens.aliases IS 'the tenant''s own handles for it, oldest first; {}: none';
COMMENT ON COLUMN dba.tokens.alias IS 'the oldest alias; NULL: none';
COMMENT ON COLUMN dba.tokens.created_at IS 'when the token was made';

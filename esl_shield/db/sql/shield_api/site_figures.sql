-- Sealer: figures of the whole site for its metrics: permits nobody redeemed, tokens of the p_tenants tenants that have most
-- (the others in one), rekeyings under way. It reads small tables only: permits, token_space, rekeyings. A login that was
-- mapped to some tenants is given those.
CREATE OR REPLACE FUNCTION shield_api.site_figures(p_tenants int)
RETURNS TABLE (figure text, label text, value double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT 'permits', s.state, count(*) FILTER (WHERE (p.expires_at <= now()) = (s.state = 'expired'))::double precision
        FROM (VALUES ('live'), ('expired')) s (state) LEFT JOIN shield.permits p ON true GROUP BY s.state
    UNION ALL
    SELECT 'tokens', CASE WHEN o.place <= p_tenants THEN o.domain ELSE 'other' END, sum(o.tokens)::double precision
        FROM (SELECT t.domain, s.tokens, row_number() OVER (ORDER BY s.tokens DESC, t.id) AS place
            FROM shield.token_space s JOIN shield.tenants t ON t.id = s.tenant_id) o
        GROUP BY 2
    UNION ALL
    SELECT f.figure, r.work::text, sum(f.value)::double precision
        FROM shield.rekeyings r LEFT JOIN shield.token_space s ON s.tenant_id = r.tenant_id
        CROSS JOIN LATERAL (VALUES ('rekeying_tokens', coalesce(s.tokens, 0)), ('rekeyed_tokens', r.changed)) f (figure, value)
        WHERE r.finished_at IS NULL GROUP BY 1, 2
$$;

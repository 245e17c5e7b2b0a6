-- Administrator: map a login that exists to a role, tenants (NULL: all), deliveries (NULL: all) and a mint rate (NULL: no
-- limit). Again with other values: they replace the old ones. Raises ES002 (a tenant is unknown), ES005 (no such login, or
-- one that row-level security would not hold: superuser, BYPASSRLS, member of shield_owner).
CREATE OR REPLACE FUNCTION shield_api.add_login(
    p_login text, p_role text, p_tenants text[], p_deliveries text[], p_mint_per_s int
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_tenants int[];
    v_scope int4multirange := '{(,)}';
    v_before text;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = p_login AND r.rolcanlogin AND NOT r.rolsuper
            AND NOT r.rolbypassrls AND NOT pg_has_role(r.oid, 'shield_owner', 'MEMBER')) THEN
        RAISE EXCEPTION 'not a plain login' USING ERRCODE = 'ES005';
    END IF;
    IF p_tenants IS NOT NULL THEN
        SELECT coalesce(array_agg(t.id ORDER BY t.id), '{}') INTO v_tenants
            FROM shield.tenants t WHERE t.name = ANY (p_tenants);
        IF cardinality(v_tenants) <> (SELECT count(DISTINCT n) FROM unnest(p_tenants) n) THEN
            RAISE EXCEPTION 'no such tenant' USING ERRCODE = 'ES002';
        END IF;
        v_scope := coalesce((SELECT range_agg(int4range(t, t, '[]')) FROM unnest(v_tenants) t), '{}');
    END IF;
    SELECT l.role INTO v_before FROM shield.logins l WHERE l.login = p_login;
    INSERT INTO shield.logins AS l (login, role, tenants, scope, deliveries, mint_per_s)
        VALUES (p_login, p_role, v_tenants, v_scope, p_deliveries, p_mint_per_s)
        ON CONFLICT (login) DO UPDATE SET role = excluded.role, tenants = excluded.tenants, scope = excluded.scope,
            deliveries = excluded.deliveries, mint_per_s = excluded.mint_per_s, mapped_at = now();
    -- A row that is there already follows its login's.
    INSERT INTO shield.scopes (login, scope) VALUES (p_login, v_scope) ON CONFLICT DO NOTHING;
    IF v_before <> p_role THEN
        EXECUTE format('REVOKE %I FROM %I', 'shield_' || v_before, p_login);
    END IF;
    IF NOT pg_has_role(p_login, 'shield_' || p_role, 'MEMBER') THEN
        EXECUTE format('GRANT %I TO %I', 'shield_' || p_role, p_login);
    END IF;
    INSERT INTO shield.audit_events (kind, detail) VALUES ('login.mapped', jsonb_build_object('login', p_login,
        'role', p_role, 'tenants', p_tenants, 'deliveries', p_deliveries, 'mint_per_s', p_mint_per_s));
END
$$;

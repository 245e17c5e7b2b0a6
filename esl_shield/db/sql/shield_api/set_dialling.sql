-- Administrator: how a tenant's tokens are dialled; NULL leaves a setting as it is. Answers changed or unchanged, NULL when
-- the tenant is unknown.
CREATE OR REPLACE FUNCTION shield_api.set_dialling(
    p_tenant text, p_requires_permission boolean, p_shows text, p_clicks_per_minute int
) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_id int;
BEGIN
    UPDATE shield.tenants t SET requires_permission = coalesce(p_requires_permission, t.requires_permission),
            shows = coalesce(p_shows, t.shows), clicks_per_minute = coalesce(p_clicks_per_minute, t.clicks_per_minute)
        WHERE t.name = p_tenant AND (coalesce(p_requires_permission, t.requires_permission), coalesce(p_shows, t.shows),
            coalesce(p_clicks_per_minute, t.clicks_per_minute)) <> (t.requires_permission, t.shows::text, t.clicks_per_minute)
        RETURNING t.id INTO v_id;
    IF v_id IS NULL THEN
        RETURN (SELECT 'unchanged' FROM shield.tenants t WHERE t.name = p_tenant);
    END IF;
    INSERT INTO shield.audit_events (tenant_id, kind, detail) VALUES (v_id, 'tenant.dialling_set', jsonb_strip_nulls(
        jsonb_build_object('requires_permission', p_requires_permission, 'shows', p_shows,
            'clicks_per_minute', p_clicks_per_minute)));
    RETURN 'changed';
END
$$;

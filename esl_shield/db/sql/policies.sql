-- Who sees which rows. Every table forces row-level security on its owner too, so our functions see what their caller's
-- login may see. The login is session_user, which neither SET ROLE nor any setting changes. The scope stands in a
-- sub-select of its own: PostgreSQL finds it once per statement, not once per row.
DO $$
DECLARE
    v_table text;
    v_admin CONSTANT text := '(SELECT pg_has_role(session_user, ''shield_owner'', ''MEMBER''))';
    v_scope CONSTANT text := '(SELECT coalesce('
        '(SELECT s.scope FROM shield.scopes s WHERE s.login = session_user::text), '
        'CASE WHEN pg_has_role(session_user, ''shield_owner'', ''MEMBER'') THEN ''{(,)}'' ELSE ''{}'' END::int4multirange))';
    v_sealer CONSTANT text := '(SELECT EXISTS (SELECT FROM shield.logins l '
        'WHERE l.login = session_user::text AND l.role = ''sealer''))';
BEGIN
    FOREACH v_table IN ARRAY ARRAY['data_keys', 'tokens', 'number_refs', 'aliases', 'token_space', 'calls', 'call_agents',
            'permits', 'token_usage', 'agent_usage', 'tenant_usage', 'dids', 'mask_buckets', 'reveals', 'reveal_tickets',
            'holds', 'erasures', 'label_masks', 'rekeyings', 'cdr_legs', 'webhooks', 'webhook_events', 'dial_permissions',
            'clicks', 'policies', 'policy_marks', 'wrong_dials', 'agent_locks', 'do_not_call', 'token_prefixes',
            'rowless_tokens', 'api_keys', 'api_answers', 'blocked_tokens'] LOOP
        EXECUTE format('DROP POLICY IF EXISTS own_tenants ON shield.%I', v_table);
        EXECUTE format('CREATE POLICY own_tenants ON shield.%I USING (tenant_id <@ %s)', v_table, v_scope);
    END LOOP;

    DROP POLICY IF EXISTS own_tenants ON shield.tenants;
    EXECUTE format('CREATE POLICY own_tenants ON shield.tenants USING (id <@ %s)', v_scope);

    -- Audit events are read and added, never changed: there is no policy for UPDATE or DELETE.
    DROP POLICY IF EXISTS own_tenants ON shield.audit_events;
    DROP POLICY IF EXISTS own_login_adds ON shield.audit_events;
    EXECUTE format('CREATE POLICY own_tenants ON shield.audit_events FOR SELECT USING (CASE WHEN tenant_id IS NULL '
        'THEN upper_inf(%1$s) ELSE tenant_id <@ %1$s END)', v_scope);
    EXECUTE format('CREATE POLICY own_login_adds ON shield.audit_events FOR INSERT WITH CHECK ('
        'login = session_user::text AND (tenant_id IS NULL OR tenant_id <@ %s))', v_scope);

    -- The sealer reads every tenant's events, whatever its login is mapped to: one left out would have no seal.
    -- Blocks are of all tenants, so only who sees all sees one. They are added by the sealer and never changed.
    DROP POLICY IF EXISTS sealer_reads ON shield.audit_events;
    EXECUTE format('CREATE POLICY sealer_reads ON shield.audit_events FOR SELECT USING (%s)', v_sealer);
    FOREACH v_table IN ARRAY ARRAY['audit_blocks', 'audit_code'] LOOP
        EXECUTE format('DROP POLICY IF EXISTS all_tenants ON shield.%I', v_table);
        EXECUTE format('DROP POLICY IF EXISTS sealer_adds ON shield.%I', v_table);
        EXECUTE format('CREATE POLICY all_tenants ON shield.%I FOR SELECT USING ((SELECT upper_inf(%s)) OR %s)',
            v_table, v_scope, v_sealer);
        EXECUTE format('CREATE POLICY sealer_adds ON shield.%I FOR INSERT WITH CHECK (%s)', v_table, v_sealer);
    END LOOP;

    DROP POLICY IF EXISTS own_login ON shield.mint_buckets;
    CREATE POLICY own_login ON shield.mint_buckets USING (login = session_user::text);

    -- A worker reports for itself; whether another's lives is asked by who ends its calls.
    DROP POLICY IF EXISTS own_login ON shield.worker_beats;
    DROP POLICY IF EXISTS enders ON shield.worker_beats;
    CREATE POLICY own_login ON shield.worker_beats USING (login = session_user::text);
    CREATE POLICY enders ON shield.worker_beats FOR SELECT USING ((SELECT pg_has_role(session_user, 'shield_intake', 'MEMBER')
        OR pg_has_role(session_user, 'shield_reaper', 'MEMBER')));

    DROP POLICY IF EXISTS own_login ON shield.reveal_usage;
    CREATE POLICY own_login ON shield.reveal_usage USING (login = session_user::text);

    -- A list that holds for all tenants' calls is a resolver's of every tenant, with what finds numbers in it.
    DROP POLICY IF EXISTS list_for_all ON shield.tenants;
    DROP POLICY IF EXISTS list_for_all ON shield.do_not_call;
    DROP POLICY IF EXISTS list_for_all ON shield.data_keys;
    CREATE POLICY list_for_all ON shield.tenants FOR SELECT USING (list_for_all
        AND pg_has_role(session_user, 'shield_resolver', 'MEMBER'));
    CREATE POLICY list_for_all ON shield.do_not_call FOR SELECT USING (
        (SELECT pg_has_role(session_user, 'shield_resolver', 'MEMBER'))
        AND tenant_id IN (SELECT t.id FROM shield.tenants t WHERE t.list_for_all));
    CREATE POLICY list_for_all ON shield.data_keys FOR SELECT USING (purpose = 'index'
        AND (SELECT pg_has_role(session_user, 'shield_resolver', 'MEMBER'))
        AND tenant_id IN (SELECT t.id FROM shield.tenants t WHERE t.list_for_all));

    -- Every statement reads its login's scope, for each table of a tenant's it names, and sets these policies up each time: so
    -- nothing else is asked of this table, and of none a sub-select where a function does.
    DROP POLICY IF EXISTS own_login ON shield.scopes;
    DROP POLICY IF EXISTS administrators ON shield.scopes;
    CREATE POLICY own_login ON shield.scopes FOR SELECT USING (login = session_user::text);
    CREATE POLICY administrators ON shield.scopes FOR INSERT
        WITH CHECK (pg_has_role(session_user, 'shield_owner', 'MEMBER'));

    -- A reveal's two people: whether the other one may still act is asked in the session of this one, or of the resolver.
    DROP POLICY IF EXISTS revealers ON shield.logins;
    CREATE POLICY revealers ON shield.logins FOR SELECT USING (role = 'revealer'
        AND (pg_has_role(session_user, 'shield_revealer', 'MEMBER') OR pg_has_role(session_user, 'shield_resolver', 'MEMBER')));

    -- An auditor's views show the logins of its tenants; dba.logins leaves out the others.
    DROP POLICY IF EXISTS auditors ON shield.logins;
    CREATE POLICY auditors ON shield.logins FOR SELECT USING (pg_has_role(session_user, 'shield_auditor', 'MEMBER'));

    -- The reaper locks workers' logins; the sealer counts those that are locked.
    DROP POLICY IF EXISTS lockers ON shield.logins;
    DROP POLICY IF EXISTS lockers_see ON shield.logins;
    CREATE POLICY lockers ON shield.logins FOR UPDATE USING (role = 'worker'
        AND pg_has_role(session_user, 'shield_reaper', 'MEMBER'));
    CREATE POLICY lockers_see ON shield.logins FOR SELECT USING (role = 'worker' AND (pg_has_role(session_user,
        'shield_reaper', 'MEMBER') OR pg_has_role(session_user, 'shield_sealer', 'MEMBER')));

    DROP POLICY IF EXISTS own_login ON shield.logins;
    DROP POLICY IF EXISTS administrators ON shield.logins;
    CREATE POLICY own_login ON shield.logins FOR SELECT USING (login = session_user::text);
    CREATE POLICY administrators ON shield.logins USING (pg_has_role(session_user, 'shield_owner', 'MEMBER'));
    DROP POLICY IF EXISTS administrators ON shield.applied_sql;
    EXECUTE format('CREATE POLICY administrators ON shield.applied_sql USING (%s)', v_admin);
END
$$;

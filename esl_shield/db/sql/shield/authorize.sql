-- What every way of asking for a call comes to: one transaction that leaves the call, the audit event and the permit's hash,
-- all or nothing. Answers the verdict and, of an allowed call alone, what the worker shows and routes by: shown is what the
-- tenant shows of it, else its token. A refusal is an answer, never an error: an error would roll its audit event back. The
-- reason stands only in that event. p_ref is the business ID of the click the call is made for.
CREATE OR REPLACE FUNCTION shield.authorize(
    p_call uuid, p_domain text, p_agent text, p_token text, p_dialled_class text, p_dialled_length int,
    p_permit_hash bytea, p_gateway text, p_delivery text, p_sip_call_id text, p_channel uuid, p_ref text,
    OUT verdict text, OUT ref text, OUT shown text, OUT alias text, OUT country text, OUT region text, OUT time_zone text,
    OUT token text
) RETURNS record
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
-- The generic plans every caller asks for (plan_cache_mode) hold in here too.
DECLARE
    permit_ttl CONSTANT interval := '10 seconds';
    -- FreeSWITCH finds users by it in any case. Of the domain, like the next two, so that it is checked once, not by each INSERT.
    v_agent CONSTANT shield.agent := CASE WHEN length(p_agent) <= 64 AND p_agent ~ '^[^[:cntrl:]]+$'
        THEN lower(p_agent) END;
    v_gateway shield.gateway;
    v_delivery shield.delivery;
    v_tenant record;
    v_token record;
    v_permission uuid;
    v_ref shield.business_id;
    v_reason text;
    v_rule jsonb;
BEGIN
    SELECT t.id, t.hooked, t.token_per_day, t.agent_per_hour, t.tenant_per_day, t.requires_permission, t.guarded,
            t.rowless, t.shows, l.mint_per_s, l.locked_at IS NOT NULL AS login_locked INTO v_tenant
        FROM shield.tenants t LEFT JOIN shield.logins l ON l.login = session_user::text
        WHERE t.domain = lower(p_domain);
    -- Whoever erases this token waits for this call, or this call finds it gone.
    PERFORM pg_advisory_xact_lock_shared(hashtextextended(p_token, v_tenant.id));
    SELECT k.token, k.status, k.expires_at, coalesce(k.per_day, v_tenant.token_per_day) AS per_day,
            (SELECT a.alias FROM shield.aliases a WHERE a.tenant_id = k.tenant_id AND a.token = k.token
                AND a.lot = CASE WHEN k.lot IS NULL THEN -1 ELSE k.lot END  -- coalesce would keep it from the index: 0022
                ORDER BY a.created_at, a.alias LIMIT 1) AS alias, k.country, k.region, k.time_zone
        INTO v_token FROM shield.tokens k WHERE k.tenant_id = v_tenant.id AND k.token = p_token;
    IF v_tenant.rowless AND v_token.token IS NULL THEN
        SELECT r.token::shield.token, r.status::shield.token_status, r.expires_at,
                coalesce(r.per_day, v_tenant.token_per_day) AS per_day, NULL::shield.alias AS alias,
                NULL::shield.region_code AS country, NULL::shield.place AS region, NULL::shield.place AS time_zone
            INTO v_token FROM shield.rowless_token(v_tenant.id, p_token) r;
    END IF;
    v_reason := CASE
        WHEN v_tenant.login_locked THEN 'login_locked'
        WHEN v_agent IS NULL THEN 'agent_unauthenticated'
        WHEN v_tenant.id IS NULL THEN 'tenant_unknown'
        WHEN p_token IS NULL OR length(p_token) NOT BETWEEN 8 AND 20 OR p_token !~ '^[0-9]+$' THEN 'token_malformed'
        WHEN v_token.token IS NULL THEN 'token_unknown'
        WHEN v_token.status <> 'active' THEN 'token_revoked'
        WHEN v_token.expires_at <= clock_timestamp() THEN 'token_expired'
    END;
    IF v_tenant.id IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock(hashtextextended(p_call::text, 0));
        IF EXISTS (SELECT FROM shield.calls c WHERE c.id = p_call AND c.started_at BETWEEN now() - interval '7 days' AND now() + interval '2 days') THEN
            INSERT INTO shield.audit_events (tenant_id, kind, agent, call, detail)
                VALUES (v_tenant.id, 'call.refused', v_agent, p_call, '{"reason": "call_repeated"}');
            verdict := 'FORBIDDEN';
            RETURN;
        END IF;
    END IF;
    -- An unknown token costs the same look as one nobody gave a permission for, and is told before any rule is.
    IF v_tenant.requires_permission AND coalesce(v_reason, 'token_unknown') = 'token_unknown' THEN
        SELECT p.permission, p.ref, coalesce(v_reason, p.reason) INTO v_permission, v_ref, v_reason
            FROM shield.take_permission(v_tenant.id, p_token, v_agent) p;
    END IF;
    IF v_tenant.guarded THEN
        SELECT g.reason, g.rule INTO v_reason, v_rule FROM shield.judge_call(v_tenant.id, v_agent, v_token.token, v_reason) g;
    END IF;
    IF v_reason IS NULL THEN
        v_reason := shield.take_call(v_tenant.id, v_token.token, v_agent,
            v_token.per_day, v_tenant.agent_per_hour, v_tenant.tenant_per_day, v_tenant.mint_per_s);
        IF v_tenant.guarded AND v_reason IS NULL THEN
            PERFORM shield.mark_call(v_tenant.id, v_agent, v_token.token);
        END IF;
    ELSIF v_reason IN ('token_malformed', 'token_unknown', 'permission_missing', 'permission_of_another') THEN
        PERFORM shield.note_wrong_dial(v_tenant.id, v_agent, p_token);
    END IF;
    IF v_reason IS NOT NULL AND v_permission IS NOT NULL THEN
        UPDATE shield.dial_permissions p SET used = p.used - 1 WHERE p.id = v_permission;
    END IF;
    IF v_reason IS NULL THEN
        v_gateway := p_gateway;
        v_delivery := p_delivery;
    END IF;
    v_ref := coalesce(p_ref, v_ref);
    INSERT INTO shield.audit_events (tenant_id, kind, agent, token, call, detail) VALUES (
        v_tenant.id, CASE WHEN v_reason IS NULL THEN 'call.authorized' ELSE 'call.refused' END,
        v_agent, v_token.token, p_call,
        CASE WHEN v_reason IS NULL THEN jsonb_strip_nulls(jsonb_build_object('gateway', p_gateway,
                'delivery', p_delivery, 'permission', v_permission))
            ELSE jsonb_strip_nulls(jsonb_build_object('reason', v_reason, 'cap', CASE v_reason
                WHEN 'token_cap' THEN v_token.per_day WHEN 'agent_cap' THEN v_tenant.agent_per_hour
                WHEN 'tenant_cap' THEN v_tenant.tenant_per_day WHEN 'mint_rate' THEN v_tenant.mint_per_s END))
                || coalesce(v_rule, '{}') END);
    IF v_tenant.id IS NOT NULL THEN
        INSERT INTO shield.calls (id, tenant_id, agent, token, alias, dialled_class, dialled_length, channel,
                gateway, delivery, state, permits, ended_at, customer_channel, permission, ref, hooked)
            VALUES (p_call, v_tenant.id, v_agent, v_token.token, v_token.alias,
                CASE WHEN p_dialled_class IS NULL OR p_dialled_class ~ '^[a-z_]{1,32}$' THEN p_dialled_class ELSE 'other' END,
                CASE WHEN p_dialled_length IS NOT NULL THEN least(greatest(p_dialled_length, 0), 10000) END, p_channel,
                v_gateway, v_delivery,
                CASE WHEN v_reason IS NULL THEN 'AUTHORIZED' ELSE 'REFUSED' END,
                CASE WHEN v_reason IS NULL THEN 1 ELSE 0 END,
                CASE WHEN v_reason IS NOT NULL THEN now() END,
                CASE WHEN v_reason IS NULL THEN shield.leg_of(p_sip_call_id) END,
                CASE WHEN v_reason IS NULL THEN v_permission END, v_ref, v_tenant.hooked);
    END IF;
    IF v_tenant.hooked THEN
        PERFORM shield.post_call(p_call, now(), CASE WHEN v_reason IS NULL THEN 'call.started' ELSE 'call.refused' END);
    END IF;
    IF v_reason IS NOT NULL THEN
        verdict := CASE WHEN v_reason IN ('token_malformed', 'token_unknown', 'token_revoked', 'token_expired')
            OR v_reason ^@ 'permission_' THEN 'NOT_FOUND' ELSE 'FORBIDDEN' END;
        RETURN;
    END IF;
    INSERT INTO shield.permits (permit_hash, call, tenant_id, agent, token, gateway, delivery, sip_call_id, expires_at)
        VALUES (p_permit_hash, p_call, v_tenant.id, v_agent, v_token.token, v_gateway, v_delivery, p_sip_call_id,
            clock_timestamp() + permit_ttl);
    verdict := 'ALLOWED';
    ref := v_ref;
    shown := coalesce(CASE v_tenant.shows WHEN 'token' THEN NULL WHEN 'alias' THEN v_token.alias WHEN 'ref' THEN v_ref
        ELSE v_tenant.shows END, v_token.token);
    alias := v_token.alias;
    country := v_token.country;
    region := v_token.region;
    time_zone := v_token.time_zone;
    token := v_token.token;
END
$$;

-- Dialler: an agent's phone is to ring and then be connected to a token. The row is the leg's principal: its UUID, drawn by the
-- caller, is what the leg is made with. Whether the call may be made is decided when the agent has answered; what is known
-- to be refused is told at once.
-- Verdicts: ASKED (make the leg), REPEATED (this key's click, with its state), CONFLICT (the key is another click's),
-- NOT_FOUND (no such token, or nobody permitted it), BLOCKED (the token is on the blocklist),
-- TOO_MANY (this agent's clicks of the minute), REFUSED (values unfit).
CREATE OR REPLACE FUNCTION shield_api.begin_click(
    p_tenant text, p_channel uuid, p_agent text, p_token text, p_alias text, p_ref text, p_key bytea
) RETURNS TABLE (verdict text, channel uuid, state text, domain text, token text, shown text, ref text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_tenant record;
    v_token text;
    v_alias text;
    v_permission uuid;
    v_ref text := p_ref;
    v_before shield.clicks;
    v_verdict text;
    v_reason text;
BEGIN
    p_agent := lower(p_agent);
    SELECT t.id, t.domain, t.shows, t.requires_permission, t.clicks_per_minute INTO v_tenant
        FROM shield.tenants t WHERE t.name = p_tenant;
    -- Two clicks with one key, or of one agent, come one after the other.
    PERFORM pg_advisory_xact_lock(hashtextextended(encode(p_key, 'hex'), 3));
    PERFORM pg_advisory_xact_lock(hashtextextended('click ' || p_agent, v_tenant.id));
    SELECT k.token, (SELECT a.alias FROM shield.aliases a WHERE a.tenant_id = k.tenant_id AND a.token = k.token
            AND a.lot = CASE WHEN k.lot IS NULL THEN -1 ELSE k.lot END ORDER BY a.created_at, a.alias LIMIT 1)
        INTO v_token, v_alias FROM shield.tokens k WHERE k.tenant_id = v_tenant.id AND k.status = 'active'
        AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp())
        AND k.token = CASE WHEN p_alias IS NULL THEN p_token ELSE
            (SELECT a.token FROM shield.aliases a WHERE a.tenant_id = v_tenant.id AND a.alias = p_alias
                AND (p_token IS NULL OR a.token = p_token)) END;
    IF v_token IS NULL AND p_alias IS NULL AND shield.rowless_live(v_tenant.id, p_token) THEN
        v_token := p_token;
    END IF;
    IF v_tenant.requires_permission THEN
        v_permission := shield.find_permission(v_tenant.id, v_token, p_agent);
        v_ref := coalesce(p_ref, (SELECT p.ref FROM shield.dial_permissions p WHERE p.id = v_permission));
    END IF;
    SELECT k.* INTO v_before FROM shield.clicks k WHERE k.tenant_id = v_tenant.id AND k.key = p_key AND k.state <> 'VOID';
    IF v_before.channel IS NOT NULL THEN
        v_verdict := CASE WHEN v_before.agent = p_agent AND v_before.ref IS NOT DISTINCT FROM p_ref
            AND (v_before.token = coalesce(v_token, p_token)) IS TRUE THEN 'REPEATED' ELSE 'CONFLICT' END;
    ELSIF v_tenant.id IS NULL OR p_channel IS NULL OR p_agent IS NULL OR p_agent !~ '^[A-Za-z0-9._+-]{1,64}$'
            OR p_ref !~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$' THEN
        v_verdict := 'REFUSED';
    ELSIF v_tenant.clicks_per_minute <= (SELECT count(*) FROM shield.clicks k WHERE k.tenant_id = v_tenant.id
            AND k.agent = p_agent AND k.asked_at > clock_timestamp() - interval '1 minute') THEN
        v_verdict := 'TOO_MANY';
    ELSIF v_token IS NULL THEN
        v_verdict := 'NOT_FOUND';
        v_reason := 'token_unknown';
    ELSIF v_tenant.requires_permission AND v_permission IS NULL THEN
        v_verdict := 'NOT_FOUND';
        v_reason := shield.why_no_permission(v_tenant.id, v_token, p_agent);
    ELSIF EXISTS (SELECT FROM shield.blocked_tokens b WHERE b.tenant_id = v_tenant.id AND b.token = v_token) THEN
        v_verdict := 'BLOCKED';
        v_reason := 'token_blocked';
    ELSE
        v_verdict := 'ASKED';
        INSERT INTO shield.clicks AS k (channel, tenant_id, agent, token, ref, key)
            VALUES (p_channel, v_tenant.id, p_agent, v_token, p_ref, p_key) RETURNING k.* INTO v_before;
        DELETE FROM shield.clicks k WHERE k.channel IN (
            SELECT o.channel FROM shield.clicks o WHERE o.asked_at < now() - interval '7 days'
            ORDER BY o.asked_at LIMIT 4 FOR UPDATE SKIP LOCKED);
    END IF;
    INSERT INTO shield.audit_events (tenant_id, kind, agent, token, detail) VALUES (v_tenant.id,
        CASE v_verdict WHEN 'ASKED' THEN 'click.asked' ELSE 'click.refused' END,
        CASE WHEN v_verdict <> 'REFUSED' THEN p_agent END, v_token,
        jsonb_strip_nulls(jsonb_build_object('channel', v_before.channel, 'ref', v_before.ref,
            'reason', coalesce(v_reason, CASE WHEN v_verdict <> 'ASKED' THEN lower(v_verdict) END))));
    IF v_verdict IN ('ASKED', 'REPEATED') THEN
        RETURN QUERY SELECT v_verdict, v_before.channel, v_before.state::text, v_tenant.domain::text, v_before.token::text,
            coalesce(CASE v_tenant.shows WHEN 'token' THEN NULL WHEN 'alias' THEN v_alias WHEN 'ref' THEN v_ref
                ELSE v_tenant.shows END, v_before.token)::text, v_ref;
    ELSE
        RETURN QUERY SELECT v_verdict, NULL::uuid, NULL::text, NULL::text, NULL::text, NULL::text, NULL::text;
    END IF;
END
$$;

-- Worker: may the agent on this leg, which was made by click and has been answered, talk to the customer it was made for?
-- Whose leg it is and whom it is for stands in the click's row, under the leg's UUID; each is taken once, within 5 minutes.
-- A leg of no such click is answered like an unknown token; everything else is as for a call that agent dials.
CREATE OR REPLACE FUNCTION shield_api.authorize_click(
    p_call uuid, p_domain text, p_permit_hash bytea, p_gateway text, p_delivery text, p_sip_call_id text, p_channel uuid
) RETURNS TABLE (
    verdict text, ref text, shown text, alias text, country text, region text, time_zone text, token text
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    v_click record;
BEGIN
    SELECT k.channel, k.agent, k.token, k.ref INTO v_click
        FROM shield.clicks k JOIN shield.tenants t ON t.id = k.tenant_id
        WHERE k.channel = p_channel AND t.domain = lower(p_domain) AND k.state = 'ASKED'
        AND k.asked_at > clock_timestamp() - interval '5 minutes' FOR UPDATE OF k;
    IF v_click.channel IS NULL THEN
        INSERT INTO shield.audit_events (tenant_id, kind, call, detail) VALUES (
            (SELECT t.id FROM shield.tenants t WHERE t.domain = lower(p_domain)), 'call.refused', p_call,
            '{"reason": "click_unknown"}');
        RETURN QUERY SELECT 'NOT_FOUND', NULL::text, NULL::text, NULL::text, NULL::text, NULL::text, NULL::text, NULL::text;
        RETURN;
    END IF;
    RETURN QUERY SELECT a.* FROM shield.authorize(p_call, p_domain, v_click.agent, v_click.token, 'click',
        length(v_click.token), p_permit_hash, p_gateway, p_delivery, p_sip_call_id, p_channel, v_click.ref) a;
    UPDATE shield.clicks k SET state = 'TAKEN', call = p_call WHERE k.channel = p_channel;
END
$$;

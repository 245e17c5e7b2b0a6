-- Worker: may this agent call this token now? Stores the call, the audit event and the permit's hash, all or nothing.
-- A refusal is an answer, never an error: an error would roll its audit event back. The reason stands only in that event.
-- Nothing but the verdict is answered: a caller may roll the event back and keep the answer.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_proc p WHERE p.pronamespace = 'shield_api'::pg_catalog.regnamespace
            AND p.proname = 'authorize_call' AND pg_catalog.pg_get_function_result(p.oid) <> 'TABLE(verdict text)') THEN
        DROP FUNCTION shield_api.authorize_call;
    END IF;
END
$$;
CREATE OR REPLACE FUNCTION shield_api.authorize_call(
    p_call uuid, p_domain text, p_agent text, p_token text, p_dialled_class text, p_dialled_length int,
    p_permit_hash bytea, p_gateway text, p_delivery text, p_sip_call_id text, p_channel uuid
) RETURNS TABLE (verdict text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT a.verdict FROM shield.authorize(p_call, p_domain, p_agent, p_token, p_dialled_class,
        p_dialled_length, p_permit_hash, p_gateway, p_delivery, p_sip_call_id, p_channel, NULL) a;
END
$$;

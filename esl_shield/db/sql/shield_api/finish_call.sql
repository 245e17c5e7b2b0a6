-- Worker of the release before: what finish_calls does, for one call. Whether it was news.
CREATE OR REPLACE FUNCTION shield_api.finish_call(
    p_call uuid, p_state text, p_hangup_cause text, p_sip_code int, p_gateway text, p_attempts int,
    p_ringing_at timestamptz, p_answered_at timestamptz, p_ended_at timestamptz
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN shield_api.finish_calls(jsonb_build_array(jsonb_build_object(
        'call', p_call, 'state', p_state, 'cause', p_hangup_cause, 'sip_code', p_sip_code, 'gateway', p_gateway,
        'attempts', p_attempts, 'ringing_at', p_ringing_at, 'answered_at', p_answered_at, 'ended_at', p_ended_at))) = 1;
END
$$;

-- Worker of the release before: what calls_answered does, for one call. Whether it was news.
CREATE OR REPLACE FUNCTION shield_api.call_answered(p_call uuid, p_gateway text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN shield_api.calls_answered(
        jsonb_build_array(jsonb_build_object('call', p_call, 'gateway', p_gateway))) = 1;
END
$$;

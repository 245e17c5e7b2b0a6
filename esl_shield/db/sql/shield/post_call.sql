-- Notes for webhooks what became of a call: its record as it is now, in the form the API shows it. Statements on one call wait
-- for each other, so a call's events have their order.
CREATE OR REPLACE FUNCTION shield.post_call(p_call uuid, p_started_at timestamptz, p_kind text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM shield.post_event(c.tenant_id, c.id, p_kind, jsonb_strip_nulls(shield.api_call_body(c)))
        FROM shield.calls c WHERE c.id = p_call AND c.started_at = p_started_at;
END
$$;

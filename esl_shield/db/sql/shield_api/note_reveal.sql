-- Resolver: a reveal was redeemed, but its number could not be decrypted.
CREATE OR REPLACE FUNCTION shield_api.note_reveal(p_reveal uuid, p_reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM shield.note_step('reveal.failed', p_reveal,
        jsonb_build_object('reason', CASE WHEN p_reason ~ '^[a-z_.]{1,64}$' THEN p_reason ELSE 'other' END));
END
$$;

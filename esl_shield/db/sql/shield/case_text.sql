-- Whether a case's id and a reason are fit to be kept.
CREATE OR REPLACE FUNCTION shield.case_text(p_case text, p_reason text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (btrim(p_case) ~ '^[^[:cntrl:]]{1,64}$' AND btrim(p_reason) ~ '^[^[:cntrl:]]+$'
        AND length(btrim(p_reason)) <= 300) IS TRUE;
END
$$;

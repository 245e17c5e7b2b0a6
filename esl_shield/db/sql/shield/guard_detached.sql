-- Whether row-level security, which has no policy there, keeps the owner too from the rows of detached months of calls.
-- While it does not, they are this transaction's alone.
CREATE OR REPLACE FUNCTION shield.guard_detached(p_guarded boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_month regclass;
BEGIN
    FOR v_month IN SELECT d FROM shield.detached_calls() d LOOP
        EXECUTE format('ALTER TABLE %s %s ROW LEVEL SECURITY', v_month, CASE WHEN p_guarded THEN 'FORCE' ELSE 'NO FORCE' END);
    END LOOP;
END
$$;

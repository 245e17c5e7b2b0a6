-- Seeder: takes numbers, by their blind indexes under every live index key, off a tenant's do-not-call list; answers how many
-- entries that were.
CREATE OR REPLACE FUNCTION shield_api.unlist_numbers(p_tenant_id int, p_indexes bytea[]) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_removed int;
BEGIN
    DELETE FROM shield.do_not_call n WHERE n.tenant_id = p_tenant_id AND n.number_index = ANY (p_indexes);
    GET DIAGNOSTICS v_removed = ROW_COUNT;
    INSERT INTO shield.audit_events (tenant_id, kind, detail) VALUES (p_tenant_id, 'do_not_call.removed',
        jsonb_build_object('removed', v_removed));
    RETURN v_removed;
END
$$;

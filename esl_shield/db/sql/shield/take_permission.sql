-- Takes one use of a dial permission: answers which and the business ID it carries, or the reason there is none. Its row is
-- counted before any cap's, in this order always, so calls cannot deadlock. A permission that another call used up in
-- between is not found again, so the search ends; of 100 calls at the last use one gets it.
CREATE OR REPLACE FUNCTION shield.take_permission(
    p_tenant_id int, p_token text, p_agent text, OUT permission uuid, OUT ref text, OUT reason text
) RETURNS record
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    LOOP
        permission := shield.find_permission(p_tenant_id, p_token, p_agent);
        EXIT WHEN permission IS NULL;
        UPDATE shield.dial_permissions p SET used = p.used + 1
            WHERE p.id = take_permission.permission AND p.tenant_id = p_tenant_id AND p.revoked_at IS NULL
            AND (p.calls IS NULL OR p.used < p.calls)
            RETURNING p.ref INTO ref;
        IF FOUND THEN
            RETURN;
        END IF;
    END LOOP;
    reason := shield.why_no_permission(p_tenant_id, p_token, p_agent);
END
$$;

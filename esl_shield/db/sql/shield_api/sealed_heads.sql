-- Sealer: the heads of the blocks after p_after, the oldest first, to be kept off this machine.
CREATE OR REPLACE FUNCTION shield_api.sealed_heads(p_after bigint, p_limit int)
RETURNS TABLE (number bigint, header text, signature bytea)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT b.number, b.header, b.signature FROM shield.audit_blocks b
        WHERE b.number > p_after ORDER BY b.number LIMIT p_limit
$$;

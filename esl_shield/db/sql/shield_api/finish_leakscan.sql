-- Scanner: what a search for leaks came to: outcome clean, found, incomplete or interrupted; counts.
CREATE OR REPLACE FUNCTION shield_api.finish_leakscan(
    p_scan uuid, p_tenants text[], p_outcome text, p_files bigint, p_bytes bigint, p_unread bigint, p_findings bigint
) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO shield.audit_events (tenant_id, kind, detail)
        SELECT t.id, 'leakscan.finished', jsonb_build_object('scan', p_scan, 'outcome', left(p_outcome, 16),
            'files', p_files, 'bytes', p_bytes, 'unread', p_unread, 'findings', p_findings)
        FROM shield.tenants t WHERE p_tenants IS NULL OR t.name = ANY (p_tenants)
$$;

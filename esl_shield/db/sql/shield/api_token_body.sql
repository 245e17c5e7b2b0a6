-- What the HTTP API shows of a token, NULL when the tenant has no such; labels as dba.tokens shows them.
CREATE OR REPLACE FUNCTION shield.api_token_body(p_tenant text, p_token text) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT jsonb_build_object('token', k.token, 'aliases', k.aliases, 'status', k.status, 'expires_at', k.expires_at,
            'country', k.country, 'region', k.region, 'time_zone', k.time_zone, 'line_type', k.line_type,
            'labels', k.labels, 'created_at', k.created_at)
        FROM dba.tokens k WHERE k.tenant = p_tenant AND k.token = p_token);
END
$$;

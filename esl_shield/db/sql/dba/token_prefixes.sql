CREATE OR REPLACE VIEW dba.token_prefixes AS
SELECT t.name AS tenant, t.token_prefix AS prefix, 'stored' AS method, t.token_length AS length, NULL::int AS key_version,
    NULL::text[] AS countries, NULL::text[] AS ranges, NULL::text[] AS line_types, t.created_at,
    NULL::timestamptz AS retired_at
FROM shield.tenants t
UNION ALL
SELECT t.name, p.prefix::text, p.method::text, p.length, p.key_version::int, p.countries, p.ranges, p.line_types,
    p.created_at, p.retired_at
FROM shield.token_prefixes p JOIN shield.tenants t ON t.id = p.tenant_id;
COMMENT ON VIEW dba.token_prefixes IS 'what a tenant''s tokens begin with and how they are decrypted';
COMMENT ON COLUMN dba.token_prefixes.prefix IS 'first digits of its tokens';
COMMENT ON COLUMN dba.token_prefixes.method IS 'stored: each token has a row with its ciphertext; ff1: computed; crm: the tenant''s service is asked';
COMMENT ON COLUMN dba.token_prefixes.length IS 'digits of a token; of stored ones those that are made now';
COMMENT ON COLUMN dba.token_prefixes.key_version IS 'the ff1 key; NULL: another method';
COMMENT ON COLUMN dba.token_prefixes.countries IS 'ISO 3166 codes its numbers may be of; NULL: not said here';
COMMENT ON COLUMN dba.token_prefixes.ranges IS 'what its numbers begin with, country code first; {}: anything; NULL: not said here';
COMMENT ON COLUMN dba.token_prefixes.line_types IS 'line types its numbers may be of; NULL: not said here';
COMMENT ON COLUMN dba.token_prefixes.created_at IS 'when it was added';
COMMENT ON COLUMN dba.token_prefixes.retired_at IS 'since when its tokens stand for nobody; NULL: they do';

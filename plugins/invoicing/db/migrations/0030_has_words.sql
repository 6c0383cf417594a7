CREATE FUNCTION invoicing.has_words(words text, patterns text[]) RETURNS boolean
    IMMUTABLE PARALLEL SAFE LANGUAGE sql AS $$
    -- The first two by themselves: an index of trigrams knows no LIKE ALL.
    SELECT words LIKE coalesce(patterns[1], '%') AND words LIKE coalesce(patterns[2], '%') AND words LIKE ALL (patterns)
$$;
COMMENT ON FUNCTION invoicing.has_words(text, text[]) IS
    'Whether a tenant''s words fit all patterns of a search. Written out where it is called, so that an index serves it.';

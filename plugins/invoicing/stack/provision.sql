-- name: database_exists
SELECT FROM pg_database WHERE datname = {name_text};
-- name: database_owned_by
SELECT FROM pg_database WHERE datname = {name_text} AND pg_get_userbyid(datdba) = {owner_text};
-- name: remark
-- What somebody else did to a database, kept with the database itself.
COMMENT ON DATABASE {name} IS {text};
-- name: read_remark
SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = {name_text};

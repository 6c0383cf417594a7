-- name: role_exists
SELECT FROM pg_roles WHERE rolname = {name_text};
-- name: create_role
CREATE ROLE {name} LOGIN PASSWORD {password};
-- name: set_password
ALTER ROLE {name} LOGIN PASSWORD {password};
-- name: database_exists
SELECT FROM pg_database WHERE datname = {name_text};
-- name: create_database
CREATE DATABASE {name} OWNER {name};
-- name: close_database
-- Only the owner and the superuser get in.
REVOKE ALL ON DATABASE {name} FROM PUBLIC;
-- name: remark
-- What somebody else did to a database, kept with the database itself.
COMMENT ON DATABASE {name} IS {text};
-- name: read_remark
SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = {name_text};

-- name: take_turns
-- Any number will do as long as nobody else locks it in this database.
SELECT pg_advisory_lock(7301955142);

-- name: prepare
CREATE SCHEMA IF NOT EXISTS invoicing;
CREATE EXTENSION IF NOT EXISTS btree_gist;
CREATE TABLE IF NOT EXISTS invoicing.schema_migration (
    version text PRIMARY KEY,
    sha256 text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- name: limit_waiting
SET LOCAL lock_timeout = '3s';

-- name: applied
SELECT version, sha256 FROM invoicing.schema_migration;

-- name: add_applied
INSERT INTO invoicing.schema_migration (version, sha256) VALUES (%(version)s, %(sha256)s);

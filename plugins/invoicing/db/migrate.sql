-- name: take_turn
-- Any number will do as long as nobody else locks it in this database.
SELECT pg_try_advisory_lock(7301955142);

-- name: of_another_owner
-- Who owns something of the schema that the login does not. The functions of an extension are the superuser's, and in the
-- schema where an older version's login had its name.
SELECT pg_get_userbyid(thing.owner) AS owner
FROM (SELECT nspowner AS owner FROM pg_namespace WHERE nspname = 'invoicing'
      UNION SELECT relowner FROM pg_class WHERE relnamespace = to_regnamespace('invoicing') AND relkind IN ('r', 'v', 'S')
      UNION SELECT proowner FROM pg_proc AS f WHERE pronamespace = to_regnamespace('invoicing') AND NOT EXISTS (
          SELECT FROM pg_depend AS d WHERE d.classid = 'pg_proc'::regclass AND d.objid = f.oid AND d.deptype = 'e')) AS thing
WHERE NOT pg_has_role(thing.owner, 'USAGE') LIMIT 1;

-- name: prepare
CREATE SCHEMA IF NOT EXISTS invoicing;
CREATE EXTENSION IF NOT EXISTS btree_gist;
CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA public;
CREATE TABLE IF NOT EXISTS invoicing.schema_migration (
    version text PRIMARY KEY,
    sha256 text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- name: limit_waiting
SELECT set_config('lock_timeout', %(longest)s, true);

-- name: applied
SELECT version, sha256 FROM invoicing.schema_migration;

-- name: add_applied
INSERT INTO invoicing.schema_migration (version, sha256) VALUES (%(version)s, %(sha256)s);

-- name: note_shapes
-- Over which columns the rows are hashed from here on; nothing as long as nothing is hashed.
DO $$ BEGIN
    IF to_regprocedure('invoicing.note_history_shapes()') IS NOT NULL THEN
        PERFORM invoicing.note_history_shapes();
    END IF;
END $$;

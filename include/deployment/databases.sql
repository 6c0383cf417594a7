-- The two databases, each with an owner of its own. For an empty server, and for its superuser: psql -f, with the
-- passwords as variables.

-- The business database: the ledger.
CREATE ROLE invoicing LOGIN PASSWORD :'invoicing_password';
CREATE DATABASE invoicing OWNER invoicing;

-- Airflow's metadata.
CREATE ROLE airflow LOGIN PASSWORD :'airflow_password';
CREATE DATABASE airflow OWNER airflow;

-- Only the owner and the superuser get in.
REVOKE ALL ON DATABASE invoicing FROM PUBLIC;
REVOKE ALL ON DATABASE airflow FROM PUBLIC;

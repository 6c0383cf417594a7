-- The two databases and their roles. For an empty server, and for its superuser: psql -f, with the passwords as variables.

-- The business database: the ledger. Its owner migrates it; the application works as another role, which owns nothing
-- and may do what plugins/invoicing/db/grants.sql says.
CREATE ROLE invoicing_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE invoicing LOGIN PASSWORD :'invoicing_password';
CREATE DATABASE invoicing OWNER invoicing_owner;
REVOKE ALL ON DATABASE invoicing FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE invoicing TO invoicing;

-- Airflow's metadata.
CREATE ROLE airflow LOGIN PASSWORD :'airflow_password';
CREATE DATABASE airflow OWNER airflow;
REVOKE ALL ON DATABASE airflow FROM PUBLIC;

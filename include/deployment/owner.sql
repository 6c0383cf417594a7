-- For a business database of an older version, where the application owned everything: its owner. For the superuser, in
-- that database, once and in one transaction: psql --single-transaction -d invoicing -f, with the password as a variable.
SET LOCAL lock_timeout = '20s';
CREATE ROLE invoicing_owner LOGIN PASSWORD :'owner_password';
REASSIGN OWNED BY invoicing TO invoicing_owner;
GRANT CONNECT, TEMPORARY ON DATABASE invoicing TO invoicing;

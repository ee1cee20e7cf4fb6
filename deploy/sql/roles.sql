-- Roles with no more rights than cdc-tail needs, for one database. Run once, as a superuser, in the
-- database of the mirror:
--
--   psql -d mirror -v login=cdc_tail_sidecar -v password=... -f roles.sql
--
-- cdc_tail         owns everything that cdc-tail makes; nobody logs in as it.
-- cdc_tail_reader  reads the mirrors, and not cdc-tail's own tables: dead letters hold raw bytes,
--                  masked columns among them. GRANT cdc_tail_reader TO whoever reports.
-- :login           what a sidecar logs in as; it acts as cdc_tail from its first statement on, so
--                  what it makes outlives it. Vault makes such logins by itself: see below.
\set ON_ERROR_STOP on
BEGIN;

CREATE ROLE cdc_tail NOLOGIN;
CREATE ROLE cdc_tail_reader NOLOGIN;
CREATE ROLE :"login" LOGIN PASSWORD :'password' NOINHERIT IN ROLE cdc_tail;
ALTER ROLE :"login" SET role = 'cdc_tail';

-- Each keyspace becomes a schema. With mirror.ddl = "verify" you make them yourself: leave it out.
SELECT format('GRANT CREATE, CONNECT ON DATABASE %I TO cdc_tail', current_database()) \gexec

-- Made before the default rights below, so that readers get none here.
CREATE SCHEMA cdc_tail AUTHORIZATION cdc_tail;

ALTER DEFAULT PRIVILEGES FOR ROLE cdc_tail GRANT USAGE ON SCHEMAS TO cdc_tail_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE cdc_tail GRANT SELECT ON TABLES TO cdc_tail_reader;

COMMIT;

-- Vault's database engine makes a login per lease, and drops it, with vault-create.sql and
-- vault-revoke.sql as the creation_statements and revocation_statements of its role.

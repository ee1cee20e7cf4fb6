#!/bin/sh
# The roles of deploy/sql/roles.sql, when PostgreSQL's volume is new. The login that they bring is
# for use without Vault.
set -eu
psql --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" --quiet \
  -v login=cdc_tail_sidecar -v password="$POSTGRES_PASSWORD" -f /sql/roles.sql

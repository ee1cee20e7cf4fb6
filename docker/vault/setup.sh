#!/bin/sh
# Has Vault make PostgreSQL's logins for the sidecar: engine, role, policy and token. Again and again:
# a Vault in development mode forgets everything when it ends.
set -eu
vault secrets list | grep -q '^database/' || vault secrets enable database
vault write database/config/mirror \
  plugin_name=postgresql-database-plugin allowed_roles=cdc-tail \
  connection_url='postgresql://{{username}}:{{password}}@postgres:5432/mirror?sslmode=disable' \
  username=mirror password="$POSTGRES_PASSWORD"
vault write database/roles/cdc-tail \
  db_name=mirror default_ttl=1h max_ttl=24h \
  creation_statements=@/sql/vault-create.sql revocation_statements=@/sql/vault-revoke.sql
vault policy write cdc-tail /setup/policy.hcl
vault token lookup "$SIDECAR_TOKEN" > /dev/null 2>&1 ||
  vault token create -id="$SIDECAR_TOKEN" -policy=cdc-tail -period=768h > /dev/null
echo "Vault hands out logins at database/creds/cdc-tail"

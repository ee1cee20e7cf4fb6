CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'
  NOINHERIT IN ROLE cdc_tail;
ALTER ROLE "{{name}}" SET role = 'cdc_tail';

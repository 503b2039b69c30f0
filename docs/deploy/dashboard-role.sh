#!/usr/bin/env bash
# Run by the postgres image where its volume is new: the role by which the dashboard reads. It may SELECT what is there
# and what POSTGRES_USER will make, and no more. Run again, it does the same with the password that the secret holds now.
set -euo pipefail

# By the environment: `ps` shows arguments to everybody.
DASHBOARD_PASSWORD=$(<"${DASHBOARD_PASSWORD_FILE:-/run/secrets/dashboard_database_password}")
export DASHBOARD_PASSWORD
psql --quiet --no-psqlrc --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" <<'SQL'
\getenv password DASHBOARD_PASSWORD
-- No statement with a password in it goes to the server's log, not even where it fails.
SET log_statement = 'none';
SET log_min_error_statement = 'panic';
SELECT 'CREATE ROLE dashboard LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'dashboard') \gexec
ALTER ROLE dashboard PASSWORD :'password' CONNECTION LIMIT 20;
ALTER ROLE dashboard SET default_transaction_read_only = on;
ALTER ROLE dashboard SET statement_timeout = '5min';
GRANT USAGE ON SCHEMA public TO dashboard;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO dashboard;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO dashboard;
SQL

-- One row per Cassandra node: how far its commit log is applied and who holds the right to go on.
-- Safe to run again, and by several sidecars at once (the caller holds the DDL advisory lock).
CREATE SCHEMA IF NOT EXISTS cdc_tail;

CREATE TABLE IF NOT EXISTS cdc_tail.checkpoint (
    node                     text PRIMARY KEY,
    segment_id               bigint,
    "offset"                 bigint,
    finished                 boolean NOT NULL DEFAULT false,
    mutations                bigint NOT NULL DEFAULT 0,
    fencing_token            bigint NOT NULL,
    lease_holder             text,
    lease_expires_at         timestamptz,
    -- The session that holds the lease: when it has ended, nobody needs to wait for the expiry.
    lease_backend_pid        integer,
    lease_backend_started_at timestamptz,
    updated_at               timestamptz,
    CHECK ((segment_id IS NULL) = ("offset" IS NULL))
) WITH (fillfactor = 10);  -- updated with every batch: room for HOT updates on its page

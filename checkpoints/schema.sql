-- One row per Cassandra node: how far its commit log is applied and who holds the right to go on.
-- Safe to run again, and by several sidecars at once (the caller holds the DDL advisory lock).
CREATE SCHEMA IF NOT EXISTS cdc_tail;

CREATE TABLE IF NOT EXISTS cdc_tail.checkpoint (
    node                     text PRIMARY KEY,
    segment_id               bigint,
    "offset"                 bigint,
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

-- How far each segment is applied whose file may still be in cdc_raw. Segments of a node may appear
-- or end out of order, so one position per node can't say which of them are done.
CREATE TABLE IF NOT EXISTS cdc_tail.segment (
    node          text NOT NULL,
    segment_id    bigint NOT NULL,
    "offset"      bigint NOT NULL,
    finished      boolean NOT NULL,
    holds_changes boolean NOT NULL,
    PRIMARY KEY (node, segment_id)
) WITH (fillfactor = 30);

-- The change files of the Parquet sink, and how far each segment of a node stands in them.
-- Safe to run again, under the lock that keeps two sidecars from running it at once.
CREATE SCHEMA IF NOT EXISTS cdc_tail;

-- A file is announced before it is begun, so that one that a crash left behind is known and removed.
-- Only those with committed_at are whole and count.
CREATE TABLE IF NOT EXISTS cdc_tail.parquet_file (
    path             text PRIMARY KEY,
    node             text NOT NULL,
    keyspace_name    text NOT NULL,
    table_name       text NOT NULL,
    hour             text NOT NULL,
    changes          bigint NOT NULL,
    min_writetime_us bigint NOT NULL,
    max_writetime_us bigint NOT NULL,
    size_bytes       bigint,
    announced_at     timestamptz NOT NULL DEFAULT now(),
    committed_at     timestamptz
);
CREATE INDEX IF NOT EXISTS parquet_file_open
    ON cdc_tail.parquet_file (node) WHERE committed_at IS NULL;

CREATE TABLE IF NOT EXISTS cdc_tail.parquet_segment (
    node       text NOT NULL,
    segment_id bigint NOT NULL,
    "offset"   bigint NOT NULL,
    PRIMARY KEY (node, segment_id)
);
COMMENT ON COLUMN cdc_tail.parquet_segment."offset" IS
    'up to here the changes of the segment are in committed files';

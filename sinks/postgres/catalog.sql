-- cdc-tail's own tables: which relation mirrors which table, and what a mirror can't hold itself.
-- Safe to run again; the caller holds the lock that keeps two sidecars from running it at once.

CREATE SCHEMA IF NOT EXISTS cdc_tail;

-- One relation in which a Cassandra table is mirrored: its rows, or the static rows of its
-- partitions. A dropped mirror keeps its relation; only tailing has stopped.
CREATE TABLE IF NOT EXISTS cdc_tail.mirror (
    mirror_id        int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    keyspace_name    text NOT NULL,
    table_name       text NOT NULL,
    table_id         uuid NOT NULL,
    kind             text NOT NULL CHECK (kind IN ('rows', 'static')),
    relation_schema  text NOT NULL,
    relation_name    text NOT NULL,
    joined_view      text,
    gc_grace_seconds int NOT NULL,
    defined_us       bigint NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    dropped_at       timestamptz,
    UNIQUE (table_id, kind),
    UNIQUE (relation_schema, relation_name)
);

COMMENT ON COLUMN cdc_tail.mirror.joined_view IS
    'of the static rows: the view, in the same schema, that joins them to the rows';
COMMENT ON COLUMN cdc_tail.mirror.defined_us IS
    'writetime (microseconds) of the newest definition that the mirror was brought up to';

CREATE UNIQUE INDEX IF NOT EXISTS mirror_active
    ON cdc_tail.mirror (keyspace_name, table_name, kind) WHERE dropped_at IS NULL;

-- cid is the column's number inside _cdc and never used again. A column that is dropped keeps its
-- row; one that is added again under the same name gets a new cid and a new relation column.
CREATE TABLE IF NOT EXISTS cdc_tail.mirror_column (
    mirror_id       int NOT NULL REFERENCES cdc_tail.mirror ON DELETE CASCADE,
    cid             smallint NOT NULL,
    column_name     text NOT NULL,
    relation_column text NOT NULL,
    kind            text NOT NULL
                    CHECK (kind IN ('partition_key', 'clustering', 'static', 'regular')),
    position        int NOT NULL,
    cql_type        text NOT NULL,
    type_class      text NOT NULL,
    pg_type         text NOT NULL,
    added_after_us  bigint,
    dropped_us      bigint,
    PRIMARY KEY (mirror_id, cid),
    UNIQUE (mirror_id, relation_column)
);
ALTER TABLE cdc_tail.mirror_column ADD COLUMN IF NOT EXISTS mask text;
COMMENT ON COLUMN cdc_tail.mirror_column.mask IS
    'how its values are hidden: hash:FINGERPRINT of the key, null, constant:VALUE; NULL: not at all';
COMMENT ON COLUMN cdc_tail.mirror_column.type_class IS
    'the type as a Java class name with its parameters, which needs no other definition';
COMMENT ON COLUMN cdc_tail.mirror_column.added_after_us IS
    'writetime (microseconds) of the drop after which the column was added again; NULL: never';
COMMENT ON COLUMN cdc_tail.mirror_column.dropped_us IS
    'writetime (microseconds) of the drop; NULL: the Cassandra table has the column';

-- Whoever holds the lock on a bucket's row owns the rows of its partitions, and the relation's
-- columns do not change meanwhile: a change of columns updates generation in all buckets.
CREATE TABLE IF NOT EXISTS cdc_tail.bucket (
    mirror_id        int NOT NULL REFERENCES cdc_tail.mirror ON DELETE CASCADE,
    bucket           smallint NOT NULL,
    generation       int NOT NULL DEFAULT 1,
    newest_dead_row_us  bigint,
    newest_partition_us bigint,
    truncated_us        bigint,
    PRIMARY KEY (mirror_id, bucket)
) WITH (fillfactor = 50);
COMMENT ON COLUMN cdc_tail.bucket.newest_dead_row_us IS
    'newest timestamp of any dead row of the bucket: what is newer needs no look at dead_row';
COMMENT ON COLUMN cdc_tail.bucket.newest_partition_us IS
    'likewise for partition_tombstone';
COMMENT ON COLUMN cdc_tail.bucket.truncated_us IS
    'time of the last TRUNCATE (microseconds): logs that are not past it say nothing up to then';

-- Every TRUNCATE that was met, by the place in a node's log up to which it deletes. Replicas log
-- the same TRUNCATE each at a place of its own: they share applied_us.
CREATE TABLE IF NOT EXISTS cdc_tail.truncation (
    table_id     uuid NOT NULL,
    segment_id   bigint NOT NULL,
    "offset"     bigint NOT NULL,
    truncated_ms bigint NOT NULL,
    log          text NOT NULL,
    applied_us   bigint NOT NULL,
    recorded_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (table_id, segment_id, "offset", truncated_ms)
);
COMMENT ON COLUMN cdc_tail.truncation.applied_us IS
    'time (microseconds) of the TRUNCATE on the node whose log told it first';

-- Reconciliation state of rows that don't exist (any more), as fragments to be merged on reading.
CREATE TABLE IF NOT EXISTS cdc_tail.dead_row (
    mirror_id int NOT NULL,
    pk        bytea NOT NULL,
    ck        bytea NOT NULL,
    state     bytea NOT NULL,
    purge_at  timestamptz
);
CREATE INDEX IF NOT EXISTS dead_row_key ON cdc_tail.dead_row (mirror_id, pk, ck);
CREATE INDEX IF NOT EXISTS dead_row_purge ON cdc_tail.dead_row (purge_at);

-- Partition deletions and range tombstones, likewise.
CREATE TABLE IF NOT EXISTS cdc_tail.partition_tombstone (
    mirror_id int NOT NULL,
    pk        bytea NOT NULL,
    state     bytea NOT NULL,
    purge_at  timestamptz
);
CREATE INDEX IF NOT EXISTS partition_tombstone_key
    ON cdc_tail.partition_tombstone (mirror_id, pk);
CREATE INDEX IF NOT EXISTS partition_tombstone_purge
    ON cdc_tail.partition_tombstone (purge_at);

-- When something of a row expires, by its TTL: at that second somebody has to look at it again.
CREATE TABLE IF NOT EXISTS cdc_tail.expiry (
    mirror_id int NOT NULL,
    due_at    bigint NOT NULL,
    pk        bytea NOT NULL,
    ck        bytea NOT NULL,
    PRIMARY KEY (mirror_id, pk, ck)
);
CREATE INDEX IF NOT EXISTS expiry_due ON cdc_tail.expiry (due_at);
COMMENT ON COLUMN cdc_tail.expiry.due_at IS
    'seconds since 1970; -1: only Cassandra can tell whether the row exists, and is asked';

-- Mutations that can't be applied, with everything that is needed to try again.
CREATE TABLE IF NOT EXISTS cdc_tail.dead_letter (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    node          text NOT NULL,
    segment_id    bigint NOT NULL,
    "offset"      bigint NOT NULL,
    ordinal       int NOT NULL DEFAULT 0,
    keyspace_name text,
    table_name    text,
    table_id      uuid,
    key           bytea,
    reason        text NOT NULL,
    detail        text,
    raw           bytea NOT NULL,
    log_version   int NOT NULL,
    first_seen    timestamptz NOT NULL DEFAULT now(),
    last_seen     timestamptz NOT NULL DEFAULT now(),
    seen          int NOT NULL DEFAULT 1,
    state         text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'retried', 'discarded')),
    UNIQUE (node, segment_id, "offset", ordinal)
);

ALTER TABLE cdc_tail.dead_letter
    ADD COLUMN IF NOT EXISTS sqlstate text,
    ADD COLUMN IF NOT EXISTS settled_at timestamptz;
COMMENT ON COLUMN cdc_tail.dead_letter.sqlstate IS
    'set where PostgreSQL refused the row; NULL: the mutation could not be decoded or stored';
ALTER TABLE cdc_tail.dead_letter ADD COLUMN IF NOT EXISTS is_sealed bool NOT NULL DEFAULT false;
COMMENT ON COLUMN cdc_tail.dead_letter.is_sealed IS 'raw is encrypted with mirror.mask_key';
CREATE INDEX IF NOT EXISTS dead_letter_refused
    ON cdc_tail.dead_letter (node, id) WHERE state = 'open' AND sqlstate IS NOT NULL;
CREATE INDEX IF NOT EXISTS dead_letter_listed ON cdc_tail.dead_letter (node, state, id);

-- Open letters by node: a million of them is too many to be counted after every batch.
CREATE TABLE IF NOT EXISTS cdc_tail.dead_letter_count (
    node text PRIMARY KEY,
    open bigint NOT NULL
) WITH (fillfactor = 10);

CREATE OR REPLACE FUNCTION cdc_tail.count_dead_letters() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        UPDATE cdc_tail.dead_letter_count AS known
           SET open = known.open - gone.n
          FROM (SELECT node, count(*) AS n FROM before WHERE state = 'open' GROUP BY node) AS gone
         WHERE known.node = gone.node;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO cdc_tail.dead_letter_count AS known (node, open)
        SELECT node, count(*) FROM after WHERE state = 'open' GROUP BY node
            ON CONFLICT (node) DO UPDATE SET open = known.open + excluded.open;
    END IF;
    RETURN NULL;
END $$;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgname = 'dead_letter_inserted'
                      AND tgrelid = 'cdc_tail.dead_letter'::regclass) THEN
        CREATE TRIGGER dead_letter_inserted AFTER INSERT ON cdc_tail.dead_letter
            REFERENCING NEW TABLE AS after
            FOR EACH STATEMENT EXECUTE FUNCTION cdc_tail.count_dead_letters();
        CREATE TRIGGER dead_letter_updated AFTER UPDATE ON cdc_tail.dead_letter
            REFERENCING OLD TABLE AS before NEW TABLE AS after
            FOR EACH STATEMENT EXECUTE FUNCTION cdc_tail.count_dead_letters();
        CREATE TRIGGER dead_letter_deleted AFTER DELETE ON cdc_tail.dead_letter
            REFERENCING OLD TABLE AS before
            FOR EACH STATEMENT EXECUTE FUNCTION cdc_tail.count_dead_letters();
        INSERT INTO cdc_tail.dead_letter_count (node, open)
        SELECT node, count(*) FROM cdc_tail.dead_letter WHERE state = 'open' GROUP BY node;
    END IF;
END $$;

-- Mutations of a table that is not known yet.
CREATE TABLE IF NOT EXISTS cdc_tail.parked (
    node        text NOT NULL,
    segment_id  bigint NOT NULL,
    "offset"    bigint NOT NULL,
    table_id    uuid NOT NULL,
    raw         bytea NOT NULL,
    log_version int NOT NULL,
    first_seen  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (node, segment_id, "offset")
);
ALTER TABLE cdc_tail.parked ADD COLUMN IF NOT EXISTS is_sealed bool NOT NULL DEFAULT false;
CREATE INDEX IF NOT EXISTS parked_table ON cdc_tail.parked (table_id);

-- Mutations that were applied as they were written, and that the node forgot when it crashed.
CREATE TABLE IF NOT EXISTS cdc_tail.forgotten (
    node          text NOT NULL,
    segment_id    bigint NOT NULL,
    "offset"      bigint NOT NULL,
    ordinal       int NOT NULL,
    keyspace_name text NOT NULL,
    table_name    text NOT NULL,
    partition_key bytea NOT NULL,
    found_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (node, segment_id, "offset", ordinal)
);
COMMENT ON TABLE cdc_tail.forgotten IS
    'partitions to be compared with Cassandra: another replica may still have what is here';

-- Every definition of a table, by the position from which on it holds.
CREATE TABLE IF NOT EXISTS cdc_tail.schema_history (
    node          text NOT NULL,
    segment_id    bigint NOT NULL,
    "offset"      bigint NOT NULL,
    keyspace_name text NOT NULL,
    table_name    text NOT NULL,
    table_id      uuid NOT NULL,
    dropped       boolean NOT NULL,
    written_us    bigint NOT NULL,
    definition    jsonb NOT NULL,
    recorded_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (node, table_id, segment_id, "offset")
);
COMMENT ON COLUMN cdc_tail.schema_history.written_us IS
    'newest writetime (microseconds) among the schema rows that the definition comes from';

-- Snapshots: how far the rows that a table had in Cassandra are copied. One row per table, from the
-- request on; a new snapshot of a table takes the place of a finished one.
CREATE TABLE IF NOT EXISTS cdc_tail.snapshot (
    table_id      uuid PRIMARY KEY,
    keyspace_name text NOT NULL,
    table_name    text NOT NULL,
    reason        text NOT NULL CHECK (reason IN ('command', 'altered', 'found')),
    requested_at  timestamptz NOT NULL DEFAULT now(),
    started_at    timestamptz,
    finished_at   timestamptz,
    rows          bigint NOT NULL DEFAULT 0
);
COMMENT ON COLUMN cdc_tail.snapshot.reason IS
    'command: asked for; altered: the log brought cdc = true; found: mirrored without ever having '
    'been copied';

-- Tokens from start_token to end_token, both included; up to next_token (excluded) it is done.
CREATE TABLE IF NOT EXISTS cdc_tail.snapshot_range (
    table_id    uuid NOT NULL REFERENCES cdc_tail.snapshot ON DELETE CASCADE,
    start_token bigint NOT NULL,
    end_token   bigint NOT NULL,
    next_token  numeric NOT NULL,
    PRIMARY KEY (table_id, start_token)
);

-- The log of one service and what moves it. Installed by the owner role; the service's own role may only INSERT and SELECT on
-- events and log. Idempotent: runs at every provisioning.

CREATE TABLE IF NOT EXISTS events (
    stream_id      uuid        NOT NULL,
    version        integer     NOT NULL CHECK (version > 0),
    event_id       uuid        NOT NULL UNIQUE,
    type           text        NOT NULL,   -- full proto name
    schema_version smallint    NOT NULL,
    payload        bytea       NOT NULL,   -- protobuf, as it was recorded; never rewritten
    metadata       bytea       NOT NULL,   -- yunku.kernel.v1.EventMetadata
    recorded_at    timestamptz NOT NULL,   -- never falls within a stream
    previous_hash  bytea       NOT NULL,   -- of the stream's previous version; 32 zero bytes for the first
    hash           bytea       NOT NULL,   -- kernel/eventlog/hashing.py
    PRIMARY KEY (stream_id, version)
);

-- Committed events that have no position yet. Written in the append's own statement, emptied by the sequencer.
CREATE TABLE IF NOT EXISTS outbox (
    event_id    uuid        PRIMARY KEY,
    stream_id   uuid        NOT NULL,
    version     integer     NOT NULL,
    recorded_at timestamptz NOT NULL,
    hash        bytea       NOT NULL
);

-- The total order of the log: dense positions from 1, given by the one sequencer.
CREATE TABLE IF NOT EXISTS log (
    position     bigint      PRIMARY KEY CHECK (position > 0),
    event_id     uuid        NOT NULL UNIQUE,
    stream_id    uuid        NOT NULL,
    version      integer     NOT NULL,
    sequenced_at timestamptz NOT NULL,     -- never falls within the log
    log_hash     bytea       NOT NULL      -- sha256(previous log_hash || event hash): the witness that consumers keep
);

-- How far the publisher has JetStream's acknowledgement. One row.
CREATE TABLE IF NOT EXISTS publisher (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    position bigint  NOT NULL
);
INSERT INTO publisher (position) VALUES (0) ON CONFLICT DO NOTHING;

-- Commands that came with an idempotency key: what was asked and what was answered.
CREATE TABLE IF NOT EXISTS commands (
    caller_id    text        NOT NULL,
    key          text        NOT NULL,
    request_hash bytea       NOT NULL,
    response     bytea       NOT NULL,     -- the reply, protobuf
    recorded_at  timestamptz NOT NULL,
    PRIMARY KEY (caller_id, key)
);

-- Events of other services that were taken in; written in the transaction of their effect.
CREATE TABLE IF NOT EXISTS inbox (
    producer   text        NOT NULL,
    position   bigint      NOT NULL,
    event_id   uuid        NOT NULL UNIQUE,
    stream_id  uuid        NOT NULL,
    outcome    text        NOT NULL CHECK (outcome IN ('applied', 'ignored', 'parked', 'replayed')),
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (producer, position)
);

-- Up to where each producer's log was taken in, with the producer's log hash there: a witness outside its own database.
CREATE TABLE IF NOT EXISTS watermarks (
    producer text   PRIMARY KEY,
    position bigint NOT NULL,
    log_hash bytea  NOT NULL
);

-- Events of other services that could not be applied, with the error; replayed by an operator, in order, never dropped.
CREATE TABLE IF NOT EXISTS parked (
    producer    text        NOT NULL,
    position    bigint      NOT NULL,
    event_id    uuid        NOT NULL,
    stream_id   uuid        NOT NULL,
    type        text        NOT NULL,
    record      bytea       NOT NULL,      -- yunku.kernel.v1.EventRecord, whole
    error       text        NOT NULL,
    attempts    integer     NOT NULL,
    parked_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    published_at timestamptz,              -- stored in the dead-letter stream
    replay_requested_at timestamptz,       -- an operator asked for it
    replayed_at timestamptz,
    PRIMARY KEY (producer, position)
);

-- Read models built from this log: which version stands, and (for those that follow the log) how far it is.
CREATE TABLE IF NOT EXISTS projections (
    name     text        PRIMARY KEY,
    version  integer     NOT NULL,
    position bigint      NOT NULL DEFAULT 0,
    built_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Gives the oldest committed outbox rows dense positions. Called by the one sequencer (kernel/eventlog/sequencer.py), which holds
-- the advisory lock on the same connection, so that a leader that lost its connection can't commit. Within a stream recorded_at
-- never falls and version n+1 is only ever committed after n was seen, so this order keeps every stream in order.
CREATE OR REPLACE FUNCTION sequence_outbox(batch integer) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    due record;
    at bigint;
    rolling bytea;
    since timestamptz;
BEGIN
    SELECT log.position, log.log_hash, log.sequenced_at INTO at, rolling, since FROM log ORDER BY log.position DESC LIMIT 1;
    IF NOT FOUND THEN
        at := 0;
        rolling := decode(repeat('00', 32), 'hex');
        since := '-infinity';
    END IF;
    FOR due IN SELECT * FROM outbox ORDER BY recorded_at, stream_id, version LIMIT batch LOOP
        at := at + 1;
        rolling := sha256(rolling || due.hash);
        since := greatest(since, clock_timestamp());
        INSERT INTO log VALUES (at, due.event_id, due.stream_id, due.version, since, rolling);
        DELETE FROM outbox WHERE event_id = due.event_id;
    END LOOP;
    RETURN at;
END
$$;

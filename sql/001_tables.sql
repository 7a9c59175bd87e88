-- 001_tables: what the archive keeps. The archive worker (archive/) writes all of it; claudebench-archive(7) is for those
-- who read it with psql.
--
-- Everything is keyed by (generation, id): the generation is the one of the data in Redis, drawn when a namespace is first used
-- (cb:meta), so that ids of a new Redis never meet those of an old one. Rows of a task, an attempt, a decision and an audit
-- record lie in partitions by month (UTC), of a time that never changes for a row.
--
-- JSON of users is of the type json, not jsonb: it is kept as it came, with 2^53+1, [] and the escape of NUL that jsonb
-- refuses. Cast it where you need an operator: payload::jsonb.

-- Each namespace that was ever archived, and how far.
CREATE TABLE claudebench.generation (
    generation      text PRIMARY KEY,
    prefix          text NOT NULL,                      -- redis.prefix
    first_seen_at   timestamptz NOT NULL DEFAULT now(),
    last_seen_at    timestamptz NOT NULL DEFAULT now(), -- of the last commit
    events_upto     text,                               -- id of the last event that is archived
    audit_upto      text NOT NULL DEFAULT '0-0',        -- id of the last audit record that is
    audit_entries   bigint NOT NULL DEFAULT 0,          -- how many the stream had had by then: a gap is noticed by it
    last_number     bigint NOT NULL DEFAULT 0,          -- ids up to here may have been handed out (cb:meta)
    walked_at       timestamptz                         -- when all that Redis has was last read, not only what changed
);
COMMENT ON TABLE claudebench.generation IS 'Namespaces of Redis that were archived, and how far.';

-- One row a task, as it was when its version was read. `version` rises with every change.
CREATE TABLE claudebench.task (
    generation      text NOT NULL,
    id              text NOT NULL,
    created_at      timestamptz NOT NULL,               -- the microsecond in the id
    version         bigint NOT NULL,                    -- 0: nothing is known but the id
    state           text NOT NULL,                      -- blocked, delayed, pending, in_progress, completed, failed, cancelled; unknown
    text            text,
    queue           text,
    priority        smallint,                           -- higher is sooner
    roles           text[] NOT NULL DEFAULT '{}',
    worker          text,                               -- who holds it, or completed it
    attempt         integer NOT NULL DEFAULT 0,         -- attempts charged
    max_attempts    integer,
    crashes         integer NOT NULL DEFAULT 0,         -- how often it lost its holder
    max_crashes     integer,
    updated_at      timestamptz NOT NULL,
    ended_at        timestamptz,
    due_at          timestamptz,                        -- delayed, blocked: not before
    is_dead         boolean NOT NULL DEFAULT false,     -- failed for good
    dead_reason     text,
    waits_for       text[] NOT NULL DEFAULT '{}',       -- ids of tasks that a blocked one waits for
    on_failure      text,                               -- …and what one of them that fails means: ignore, block; NULL: fail
    unique_key      text,
    partition       text,                               -- a partition of events, no partition of ours
    schedule        text,                               -- the schedule that it came of
    scheduled_for   timestamptz,
    backoff         text,                               -- backoff_ms, or it and backoff_max_ms; NULL: the option's
    lease_ms        bigint,                             -- NULL: the option's
    payload         json,
    metadata        json,
    result          json,
    error           json,
    gone_at         timestamptz,                        -- since when Redis has it no more, before it was known to have ended
    gone_reason     text,                               -- deleted: by task.delete; lost: its end was not seen
    PRIMARY KEY (generation, id, created_at)
) PARTITION BY RANGE (created_at);
COMMENT ON TABLE claudebench.task IS 'Tasks, one row each, as they were last seen.';

-- Tasks that are still to be done: few of many, and what a restore reads.
CREATE INDEX task_open ON claudebench.task (generation, state, queue) WHERE ended_at IS NULL AND gone_at IS NULL;
CREATE INDEX task_state ON claudebench.task (state, updated_at);
CREATE INDEX task_worker ON claudebench.task (worker, updated_at) WHERE worker IS NOT NULL;
CREATE INDEX task_updated ON claudebench.task USING brin (updated_at);
CREATE INDEX task_search ON claudebench.task USING gin (to_tsvector('simple'::regconfig, coalesce(text, '')));

-- One row for each time that a worker had a task.
CREATE TABLE claudebench.attempt (
    generation      text NOT NULL,
    task_id         text NOT NULL,
    started_at      timestamptz NOT NULL,
    attempt         integer NOT NULL,                   -- one that was released is not charged: the next has its number again
    worker          text,
    ended_at        timestamptz,                        -- NULL: it runs, or its end was not seen
    outcome         text NOT NULL,                      -- running, completed, failed, …: as in task.get
    signal          text,
    error           json,
    PRIMARY KEY (generation, task_id, started_at, attempt)
) PARTITION BY RANGE (started_at);
COMMENT ON TABLE claudebench.attempt IS 'Who worked on a task, when, and what came of it.';
CREATE INDEX attempt_worker ON claudebench.attempt (worker, started_at);

-- Each registration of a daemon or an agent has an incarnation of its own.
CREATE TABLE claudebench.instance (
    generation      text NOT NULL,
    id              text NOT NULL,
    incarnation     text NOT NULL,
    kind            text NOT NULL,                      -- daemon, agent
    state           text NOT NULL,                      -- active, offline
    roles           json,
    queues          text[] NOT NULL DEFAULT '{}',
    capacity        integer,
    metadata        json,
    registered_at   timestamptz,                        -- of this id, first
    last_seen_at    timestamptz,                        -- its last beat, as it was when the row was written
    ended_at        timestamptz,
    PRIMARY KEY (generation, id, incarnation)
);
COMMENT ON TABLE claudebench.instance IS 'Daemons and agents, by registration.';

-- Votes.
CREATE TABLE claudebench.decision (
    generation      text NOT NULL,
    id              text NOT NULL,
    opened_at       timestamptz NOT NULL,
    status          text NOT NULL,                      -- open, decided, tied, expired
    role            text,
    electorate      text[] NOT NULL DEFAULT '{}',
    votes           json,                               -- by member
    value           json,                               -- what was decided
    ends_at         timestamptz,
    closed_at       timestamptz,
    PRIMARY KEY (generation, id, opened_at)
) PARTITION BY RANGE (opened_at);
COMMENT ON TABLE claudebench.decision IS 'Decisions by vote, with their electorate and votes.';

-- The audit trail: what hooks decided about calls of tools and prompts, and what came of them.
CREATE TABLE claudebench.audit_record (
    generation      text NOT NULL,
    entry           text NOT NULL,                      -- its id in cb:stream:audit
    recorded_at     timestamptz NOT NULL,               -- the time in that id
    at              timestamptz NOT NULL,
    kind            text NOT NULL,
    session         text,
    agent           text,
    actor           text,
    tool            text,
    decision        text,
    rule            text,
    data            json NOT NULL,                      -- all of it
    PRIMARY KEY (generation, entry, recorded_at)
) PARTITION BY RANGE (recorded_at);
COMMENT ON TABLE claudebench.audit_record IS 'The audit trail of the hooks.';
CREATE INDEX audit_record_at ON claudebench.audit_record (recorded_at);
CREATE INDEX audit_record_session ON claudebench.audit_record (session, recorded_at) WHERE session IS NOT NULL;

CREATE TABLE claudebench.schedule (
    generation      text NOT NULL,
    id              text NOT NULL,
    version         bigint NOT NULL,
    status          text NOT NULL,                      -- active, paused, ended
    fired           bigint NOT NULL DEFAULT 0,
    dropped         bigint NOT NULL DEFAULT 0,
    document        json NOT NULL,                      -- as schedule.get gives it
    updated_at      timestamptz NOT NULL,
    removed_at      timestamptz,
    PRIMARY KEY (generation, id)
);
COMMENT ON TABLE claudebench.schedule IS 'Schedules, one row each, as they were last seen.';

-- ---- partitions ----

-- Makes the partition of a table for the month of `moment`, when there is none. The archive worker calls it before it writes rows of a
-- month that it has not written to yet, in a transaction of its own.
CREATE FUNCTION claudebench.make_month(parent text, moment timestamptz) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    month timestamp := date_trunc('month', moment AT TIME ZONE 'UTC');
    name text := parent || to_char(month, '_YYYY_MM');
BEGIN
    IF to_regclass('claudebench.' || quote_ident(name)) IS NOT NULL THEN
        RETURN false;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('claudebench.make_month'));
    IF to_regclass('claudebench.' || quote_ident(name)) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE claudebench.%I PARTITION OF claudebench.%I FOR VALUES FROM (%L) TO (%L)', name, parent,
                   month AT TIME ZONE 'UTC', (month + interval '1 month') AT TIME ZONE 'UTC');
    RETURN true;
END
$$;

-- ---- retention ----

-- Removes at most `most` rows, or one partition, of what ended before `horizon`. Returns how many rows, -1 for a partition; 0: there
-- is nothing more. A task that has not ended stays, however old it is, and so does the partition that it is in.
CREATE FUNCTION claudebench.expire(horizon timestamptz, most integer) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    part record;
    old text;
    found_one boolean;
    removed bigint;
BEGIN
    FOR part IN
        SELECT p.relname AS parent, c.relname AS name
        FROM pg_inherits i
        JOIN pg_class c ON c.oid = i.inhrelid
        JOIN pg_class p ON p.oid = i.inhparent
        JOIN pg_namespace n ON n.oid = p.relnamespace
        WHERE n.nspname = 'claudebench' AND p.relname IN ('task', 'attempt', 'decision', 'audit_record')
          AND (to_timestamp(right(c.relname, 7), 'YYYY_MM')::timestamp AT TIME ZONE 'UTC') < horizon
        ORDER BY c.relname
    LOOP
        old := CASE part.parent
            WHEN 'task' THEN '(ended_at IS NOT NULL OR gone_at IS NOT NULL) AND updated_at < $1'
            WHEN 'attempt' THEN 'coalesce(ended_at, started_at) < $1'
            WHEN 'decision' THEN 'coalesce(closed_at, opened_at) < $1'
            ELSE 'recorded_at < $1' END;
        EXECUTE format('SELECT EXISTS (SELECT FROM claudebench.%I WHERE NOT (%s))', part.name, old)
            INTO found_one USING horizon;
        IF NOT found_one THEN
            EXECUTE format('DROP TABLE claudebench.%I', part.name);
            RETURN -1;
        END IF;
        EXECUTE format('DELETE FROM claudebench.%1$I WHERE ctid = ANY (ARRAY(SELECT ctid FROM claudebench.%1$I WHERE %2$s LIMIT %3$s))',
                       part.name, old, most) USING horizon;
        GET DIAGNOSTICS removed = ROW_COUNT;
        IF removed > 0 THEN
            RETURN removed;
        END IF;
    END LOOP;
    DELETE FROM claudebench.instance WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM claudebench.instance WHERE coalesce(ended_at, last_seen_at) < horizon LIMIT most));
    GET DIAGNOSTICS removed = ROW_COUNT;
    IF removed = 0 THEN
        DELETE FROM claudebench.schedule WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM claudebench.schedule WHERE removed_at < horizon LIMIT most));
        GET DIAGNOSTICS removed = ROW_COUNT;
    END IF;
    RETURN removed;
END
$$;

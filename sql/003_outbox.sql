-- 003_outbox: tasks that users of PostgreSQL create within their own transactions. Once that is committed, the archive worker
-- makes a task of each row, exactly once (ARCHITECTURE.md, "The archive").

CREATE TABLE claudebench.outbox (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    prefix          text NOT NULL DEFAULT 'cb',         -- for which namespace (redis.prefix)
    task            json NOT NULL CHECK (json_typeof(task) = 'object'), -- the params of task.create
    created_at      timestamptz NOT NULL DEFAULT now(),
    taken_at        timestamptz,                        -- when it was first sent
    done_at         timestamptz,
    task_id         text,                               -- the task that was made of it
    error           json                                -- …or why there is none: the error of task.create
);
COMMENT ON TABLE claudebench.outbox IS 'Insert here to create a task when your transaction commits.';
CREATE INDEX outbox_open ON claudebench.outbox (prefix, id) WHERE done_at IS NULL;

-- Wakes the archive worker at the commit; many rows of one statement, or transaction, are one notification.
CREATE FUNCTION claudebench.outbox_notify() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('claudebench_outbox', '');
    RETURN NULL;
END
$$;
CREATE TRIGGER outbox_notify AFTER INSERT ON claudebench.outbox
    FOR EACH STATEMENT EXECUTE FUNCTION claudebench.outbox_notify();

-- SELECT claudebench.enqueue('{"text": "send the bill", "payload": {"order": 7}}');
CREATE FUNCTION claudebench.enqueue(task json, prefix text DEFAULT 'cb') RETURNS bigint
LANGUAGE sql AS $$
    INSERT INTO claudebench.outbox (task, prefix) VALUES (task, prefix) RETURNING id
$$;

CREATE VIEW claudebench.outbox_waiting AS
SELECT prefix, count(*) AS waiting, min(created_at) AS oldest FROM claudebench.outbox WHERE done_at IS NULL GROUP BY prefix;
COMMENT ON VIEW claudebench.outbox_waiting IS 'What was enqueued and is no task yet?';

-- 002_views: a view for each question that people ask; claudebench-archive(7) lists them.

-- The namespaces that are archived now: how far, and how long ago that was.
CREATE VIEW claudebench.archived AS
SELECT generation, prefix, last_seen_at,
       to_timestamp(split_part(events_upto, '-', 1)::bigint / 1000.0) AS events_until,
       to_timestamp(split_part(audit_upto, '-', 1)::bigint / 1000.0) AS audit_until,
       walked_at
FROM claudebench.generation;
COMMENT ON VIEW claudebench.archived IS 'How far does the archive reach?';

-- What is still to be done?
CREATE VIEW claudebench.open_task AS
SELECT * FROM claudebench.task WHERE ended_at IS NULL AND gone_at IS NULL;
COMMENT ON VIEW claudebench.open_task IS 'What is still to be done?';

CREATE VIEW claudebench.queue_count AS
SELECT generation, queue, state, count(*) AS tasks, min(created_at) AS oldest
FROM claudebench.task WHERE gone_at IS NULL
GROUP BY generation, queue, state;
COMMENT ON VIEW claudebench.queue_count IS 'How many tasks of each queue are in which state?';

CREATE VIEW claudebench.dead_task AS
SELECT generation, id, queue, text, dead_reason, attempt, crashes, error, ended_at
FROM claudebench.task WHERE state = 'failed' AND is_dead;
COMMENT ON VIEW claudebench.dead_task IS 'What has failed for good, and why?';

CREATE VIEW claudebench.lost_task AS
SELECT generation, id, queue, text, state, gone_at
FROM claudebench.task WHERE gone_reason = 'lost';
COMMENT ON VIEW claudebench.lost_task IS 'Of what was the end not seen (a gap in the events)?';

-- Who worked on a task, with what came of it and how long it took.
CREATE VIEW claudebench.task_attempt AS
SELECT a.generation, a.task_id, t.text, t.queue, a.attempt, a.worker, a.started_at, a.ended_at, a.outcome, a.signal, a.error,
       a.ended_at - a.started_at AS took
FROM claudebench.attempt a
LEFT JOIN claudebench.task t ON t.generation = a.generation AND t.id = a.task_id
    AND t.created_at = to_timestamp(substr(a.task_id, 3)::bigint / 1000000) + substr(a.task_id, 3)::bigint % 1000000 * interval '1 us';
COMMENT ON VIEW claudebench.task_attempt IS 'Who worked on what, for how long, and what came of it?';

CREATE VIEW claudebench.worker_activity AS
SELECT generation, worker, count(*) AS attempts,
       count(*) FILTER (WHERE outcome = 'completed') AS completed,
       count(*) FILTER (WHERE outcome NOT IN ('completed', 'running')) AS others,
       avg(ended_at - started_at) FILTER (WHERE outcome = 'completed') AS mean_time,
       min(started_at) AS first_at, max(coalesce(ended_at, started_at)) AS last_at
FROM claudebench.attempt GROUP BY generation, worker;
COMMENT ON VIEW claudebench.worker_activity IS 'What has each worker done?';

CREATE VIEW claudebench.hourly AS
SELECT generation, date_trunc('hour', ended_at) AS hour, queue,
       count(*) FILTER (WHERE state = 'completed') AS completed,
       count(*) FILTER (WHERE state = 'failed') AS failed,
       count(*) FILTER (WHERE state = 'cancelled') AS cancelled,
       avg(ended_at - created_at) AS mean_age
FROM claudebench.task WHERE ended_at IS NOT NULL
GROUP BY generation, date_trunc('hour', ended_at), queue;
COMMENT ON VIEW claudebench.hourly IS 'How much was finished in which hour?';

CREATE VIEW claudebench.current_instance AS
SELECT DISTINCT ON (generation, id) *
FROM claudebench.instance ORDER BY generation, id, (state = 'active') DESC, last_seen_at DESC NULLS LAST;
COMMENT ON VIEW claudebench.current_instance IS 'Which daemons and agents are there, or were there last?';

CREATE VIEW claudebench.refused_call AS
SELECT generation, at, kind, session, agent, actor, tool, rule, data
FROM claudebench.audit_record WHERE decision = 'deny';
COMMENT ON VIEW claudebench.refused_call IS 'Which calls of tools were refused, whose, and by which rule?';

-- Tasks whose text has these words, those that changed last first: SELECT * FROM claudebench.search('broken build').
CREATE FUNCTION claudebench.search(words text, most integer DEFAULT 100) RETURNS SETOF claudebench.task
LANGUAGE sql STABLE AS $$
    SELECT * FROM claudebench.task
    WHERE to_tsvector('simple'::regconfig, coalesce(text, '')) @@ websearch_to_tsquery('simple'::regconfig, words)
    ORDER BY updated_at DESC LIMIT most
$$;

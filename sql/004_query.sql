-- 004_query: what `claudebench archive query` lists, it lists by the time of the last change, the newest first: an index for each way
-- to ask, so that a page costs what it shows, however much there is.

-- By when they changed; the BRIN index that was here finds a range of time, but no order.
DROP INDEX claudebench.task_updated;
CREATE INDEX task_updated ON claudebench.task (updated_at, id);
CREATE INDEX task_queue ON claudebench.task (queue, updated_at);
CREATE INDEX task_dead ON claudebench.task (updated_at) WHERE is_dead;
CREATE INDEX attempt_started ON claudebench.attempt (started_at, task_id);

-- What is done in the outbox goes with archive.keep_days.
CREATE INDEX outbox_done ON claudebench.outbox (done_at) WHERE done_at IS NOT NULL;

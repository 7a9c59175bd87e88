#!lua flags=allow-oom
-- submit: adds a request to a stream even when memory is full, for methods that finish work.
-- KEYS  1 the request stream
-- ARGV  field, value, …
-- Returns the entry's id. Caller: clients (common/requests_client_link.c).
return redis.call('XADD', KEYS[1], '*', unpack(ARGV))

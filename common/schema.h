/*
 * schema.h: the schemas of the data in Redis that this version can work on (`schema` in cb:meta; lua/tick.lua writes it).
 */
#ifndef CB_SCHEMA_H
#define CB_SCHEMA_H

/*
 * 2: several values of a task are one field of its hash (lua/include/task_fields.lua).
 * 3: its state, and who holds it until when, are one field with what changes with them.
 *
 * Tasks of an earlier schema are converted when a script comes upon them. The first tick of a daemon says which schema the data have
 * from then on.
 */
enum { SCHEMA_MIN = 1, SCHEMA_MAX = 3 };

#endif

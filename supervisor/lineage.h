/*
 * lineage.h: which data this daemon has served. The folder of state remembers the generation of the namespace's data (cb:meta), so that
 * somebody is told when Redis comes back with others, or with none (claudebench doctor). Nothing is refused for it.
 */
#ifndef CB_LINEAGE_H
#define CB_LINEAGE_H

#include "common/options.h"
#include "supervisor/redis_conn.h"

struct lineage;

/* All arguments are borrowed. */
struct lineage *lineage_new(struct event_base *base, const struct options *opts,
                            struct redis_conn *conn);
void lineage_free(struct lineage *l); /* accepts NULL */
/* Asks Redis, if it is there; also done every ten seconds. */
void lineage_look(struct lineage *l);

/* "" = not known yet. */
const char *lineage_generation(const struct lineage *l);
/* What was served before that, "" = nothing, or it is longer ago than a week. */
const char *lineage_before(const struct lineage *l);

#endif

/*
 * walk.h: reads all that Redis has, page by page, when events alone do not tell: the archive is new, or there is a gap in the
 * events. Behind it come the tasks that the archive has as open: what Redis has no more is marked as lost, since its end was not seen.
 */
#ifndef CB_ARCHIVE_WALK_H
#define CB_ARCHIVE_WALK_H

#include "archive/source.h"

enum walk_stage {
    WALK_NONE,
    WALK_TASKS,
    WALK_ACTIVE, /* instances */
    WALK_OFFLINE,
    WALK_DECISIONS,
    WALK_SCHEDULES,
    WALK_OPEN, /* what the archive has as open */
};

struct walk {
    enum walk_stage stage;
    char cursor[300];
    int64_t rank;
    bool has_cursor; /* in PostgreSQL */
    uint64_t records;
};

/* From the start, whatever was under way. */
void walk_begin(struct walk *w);
bool walk_is_on(const struct walk *w);
/*
 * The next page: what it names is added to `set`, which may stay empty. `*ret_marks_lost`: those of them that are gone are lost. After the last
 * page the walk is over (walk_is_on() is false, also when -1 is returned it stays). Returns 0 or -1.
 */
int walk_page(struct walk *w, struct source *s, struct pg *pg, struct touched_set *set,
              bool *ret_marks_lost, struct cb_error *err);

#endif

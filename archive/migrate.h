/*
 * migrate.h: the schema of the archive: sql/NNN_*.sql, compiled in.
 *
 * What was applied is in claudebench.migration. Each migration is one transaction with its row there, under an advisory lock, so that
 * programs on several hosts may begin at once, and one that dies leaves nothing half done. A migration that was released is
 * never changed: what is to change comes in a new one (a test brings every earlier version up).
 */
#ifndef CB_ARCHIVE_MIGRATE_H
#define CB_ARCHIVE_MIGRATE_H

#include "archive/pg.h"

struct migration {
    int version; /* 1, 2, … */
    const char *name;
    const char *sql;
};
extern const struct migration migrations[]; /* generated; ends with version 0 */

/* The last version that this program knows. */
int migrate_latest(void);
/* The version that the database has; 0: none. Returns 0, or -1. */
int migrate_version(struct pg *pg, int *ret_version, struct cb_error *err);
/*
 * Applies what is missing up to `version`; calls said(), which may be NULL, behind each. Nothing is done when the database is newer.
 * Returns 0, or -1; what was applied before a failure stays.
 */
typedef void migrate_said_fn(void *arg, const struct migration *applied);
int migrate_to(struct pg *pg, int version, migrate_said_fn *said, void *arg, struct cb_error *err);

#endif

/*
 * old_functions.h: functions that another version of this program left in Redis, which keeps them with the data. They are removed
 * when a daemon's first tick went well. Whoever still runs that version loads what it calls again, as after any loss.
 */
#ifndef CB_OLD_FUNCTIONS_H
#define CB_OLD_FUNCTIONS_H

#include "supervisor/redis_conn.h"

/* Asks, and removes what is not ours when the answer comes. The connection is up (asserted). */
void old_functions_remove(struct redis_conn *conn);

#endif

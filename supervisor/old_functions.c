/*
 * old_functions.c: see old_functions.h. By name alone: that says which text a library has (common/scripts.h).
 */
#include "common/compat.h"
#include "supervisor/old_functions.h"

#include "common/log.h"

/* Of one library: a list of names and values. */
static const char *library_name(const reply_t *library)
{
    for (size_t i = 0; i + 1 < reply_count(library); i += 2)
        if (strcmp(reply_str(reply_at(library, i)), "library_name") == 0)
            return reply_str(reply_at(library, i + 1));
    return "";
}

/* Without the right to ask (an ACL from before there were functions) they stay. */
static void on_libraries(void *arg, const reply_t *reply)
{
    struct redis_conn *conn = arg;
    int64_t removed = 0;

    for (size_t i = 0; i < reply_count(reply); i++) {
        const char *name = library_name(reply_at(reply, i));
        if (strncmp(name, SCRIPTS_LIBRARY_PREFIX, strlen(SCRIPTS_LIBRARY_PREFIX)) != 0 ||
            scripts_has_library(name))
            continue;
        redis_conn_call(conn, NULL, NULL, "FUNCTION", "DELETE", name, NULL);
        removed++;
    }
    if (removed > 0)
        log_event(EV_functions_removed, LOG_I("count", removed));
}

void old_functions_remove(struct redis_conn *conn)
{
    redis_conn_call(conn, on_libraries, conn, "FUNCTION", "LIST", "LIBRARYNAME",
                    SCRIPTS_LIBRARY_PREFIX "*", NULL);
}

/*
 * old_functions.c: see old_functions.h. By name alone: that says which text a library has (common/scripts.h).
 */
#include "common/compat.h"
#include "supervisor/old_functions.h"

#include "common/log.h"
#include "common/mem.h"

/* Of one library: a list of names and values. */
static const char *library_name(const reply_t *library)
{
    for (size_t i = 0; i + 1 < reply_count(library); i += 2)
        if (strcmp(reply_str(reply_at(library, i)), "library_name") == 0)
            return reply_str(reply_at(library, i + 1));
    return "";
}

static void on_removed(void *arg, const reply_t *reply)
{
    const char *name = arg;

    if (reply && !reply_is_error(reply))
        log_event(EV_functions_removed, LOG_S("last", name));
    free(arg);
}

/* Without the right to ask, or to remove, they stay. */
static void on_libraries(void *arg, const reply_t *reply)
{
    struct redis_conn *conn = arg;
    const char *last = NULL;

    for (size_t i = 0; i < reply_count(reply); i++) {
        const char *name = library_name(reply_at(reply, i));
        if (!scripts_is_library(name) || scripts_has_library(name))
            continue;
        if (last)
            redis_conn_call(conn, NULL, NULL, "FUNCTION", "DELETE", last, NULL);
        last = name;
    }
    if (last) /* one line for all of them */
        redis_conn_call(conn, on_removed, mem_strdup(last), "FUNCTION", "DELETE", last, NULL);
}

void old_functions_remove(struct redis_conn *conn)
{
    redis_conn_call(conn, on_libraries, conn, "FUNCTION", "LIST", "LIBRARYNAME",
                    SCRIPTS_LIBRARY_PREFIX "*", NULL);
}

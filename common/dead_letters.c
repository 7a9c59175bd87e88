/*
 * dead_letters.c: see dead_letters.h.
 */
#include "common/compat.h"
#include "common/dead_letters.h"

#include "common/log.h"

void dead_letters_log(const reply_t *letters, const char *consumer)
{
    for (size_t i = 0; i < reply_count(letters); i++) {
        const reply_t *r = reply_at(letters, i);
        log_event(EV_dead_letter, LOG_S("entry", reply_str(reply_at(r, 0))),
                  LOG_S("id", reply_str(reply_at(r, 1))),
                  LOG_S("method", reply_str(reply_at(r, 2))),
                  LOG_S("trace", reply_str(reply_at(r, 3))), LOG_S("consumer", consumer),
                  LOG_S("reason", reply_str(reply_at(r, 4))));
    }
}

void dead_letters_log_dropped(const reply_t *dropped)
{
    if (reply_count(dropped) > 0)
        log_event(EV_dead_letters_dropped, LOG_I("letters", reply_int(reply_at(dropped, 0))),
                  LOG_I("left", reply_int(reply_at(dropped, 1))),
                  LOG_I("bytes", reply_int(reply_at(dropped, 2))));
}

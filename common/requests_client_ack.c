/*
 * requests_client_ack.c: replies of writes that replicas have to confirm (ack replica:N; see requests_client_int.h).
 *
 * The reply is in our hands, so the commit is in the history of the server that gave it to us. PING moves our connection's
 * place in that history behind it (after a blocking pop Redis leaves it where it was), and WAIT says how many replicas have
 * come so far. All that was popped together is confirmed together. Whom too few have confirmed, and whatever was waiting
 * when the connection was lost, is not known to survive: the request is repeated under the same idempotency key, so that it
 * gets the same outcome again, from whoever is the master then.
 */
#include "common/compat.h"
#include "common/requests_client_int.h"

#include "common/mem.h"

#include <utlist.h>

bool ack_hold(struct request *rq, const char *text, size_t len)
{
    if (rq->ack.level != ACK_REPLICA || !(rq->flags & METHOD_WRITE))
        return false;
    buf_reset(&rq->held);
    buf_append(&rq->held, text, len);
    rq->is_held = true;
    return true;
}

unsigned ack_wanted(const struct requests_client *rc)
{
    unsigned most = 0;

    for (const struct request *rq = rc->open; rq; rq = rq->next)
        if (rq->is_held && !rq->is_confirming && rq->ack.replicas > most)
            most = rq->ack.replicas;
    return most;
}

bool ack_is_pop_due(const struct requests_client *rc)
{
    for (const struct request *rq = rc->open; rq; rq = rq->next)
        if (!rq->is_held)
            return true;
    return false;
}

void ack_asked(struct requests_client *rc)
{
    for (struct request *rq = rc->open; rq; rq = rq->next)
        rq->is_confirming |= rq->is_held;
}

void ack_forget(struct request *rq)
{
    buf_done(&rq->held);
    rq->is_held = rq->is_confirming = false;
}

/* Those that were asked for in one WAIT are all that are confirming: the next is only sent when this one is answered. */
bool ack_answered(struct requests_client *rc, unsigned replicas)
{
    struct request *rq, *next;
    bool are_enough = true;

    for (rq = rc->open; rq; rq = next) {
        next = rq->next;
        if (!rq->is_confirming)
            continue;
        rq->confirmed = (int)replicas;
        if (replicas >= rq->ack.replicas) {
            answer_give(rc, rq, rq->held.data, rq->held.len);
        } else {
            ack_forget(rq);
            rq->is_queued = false;
            are_enough = false;
        }
    }
    return are_enough;
}

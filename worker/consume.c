/*
 * consume.c: see consume.h.
 *
 * One turn: the commits of the last batch and the next XREADGROUP go out in one write; their replies come back in
 * order. A commit that can take no more requests goes out at once, so that Redis runs it while we check what comes behind it.
 * Workers read only `>`. What was redelivered is handled one at a time, so that a request that kills its worker takes no others
 * with it again. When the connection is lost, the commits in hand are run again on the new one (their XACK test makes that
 * safe) before what else is pending on this consumer is handed on.
 *
 * Bursts: Redis answers a blocked XREADGROUP at the first entry. So, when there have been several requests at once, it asks for
 * that one only, and a second XREADGROUP behind it takes the rest: Redis executes it when it has read all that came with the
 * first. And then one worker at a time waits for requests (reading_turn.h). Each of the two may fail by itself: what the other
 * one has brought is pending on us, so it is handled or handed on in any case. When a read has brought a whole batch, there is probably
 * more, and nothing to wait for: the next one goes out without a turn, and does not wait. Else who commits while another one has the
 * turn would come to its next batch only when that one's commit is through, and Redis would wait for both of them to check theirs.
 * Nothing there costs a round trip: the read that waits goes out behind it.
 *
 * Careful reading: requests that are each within their limits may together be more than a link takes in one reply (64 MiB).
 * The worker then reads them one at a time; one that is too large by itself is charged like a crash, so that it ends in the dead
 * stream and its neighbours are served. A worker whose predecessor died over no request that is known begins so, too: a request
 * for which there is not enough memory kills at the read, before anybody can say which one it was. It lasts for a time, not for
 * a number of requests, because what was handed on is behind all that was there before; and it halves the throughput.
 */
#include "common/compat.h"
#include "worker/consume.h"

#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "worker/admission.h"
#include "worker/policy.h"
#include "worker/reading_turn.h"

enum {
    BLOCK_MS = 1000,
    FAULT_WAIT_MIN_MS = 50,
    FAULT_WAIT_MAX_MS = 2000,
    CAREFUL_MS = 10000,
    SLICE_US = 20000, /* of checking, before what is checked is committed */
    SETTLE_TRIES = 5, /* refusals of one commit, or answers that are none */
    READS = 2,        /* XREADGROUPs of one turn at most */
};

struct consumer {
    struct session *session;
    const struct handler_context *ctx;
    struct supervised *sup;
    struct gate_weather weather;
    struct arena arena;      /* of the batch in hand */
    reply_t *entries[READS]; /* XREADGROUP's replies that the batch points into */
    struct request *requests;
    size_t len;
    struct backoff trouble; /* error replies to XREADGROUP, and what repeats after a reconnect */
    bool is_answered;       /* XREADGROUP was, since the last loss of the connection */
    struct log_repeat said;
    int64_t careful_until_ms; /* read one at a time until then */
    bool was_careful;         /* the read under way asks for one entry */
    bool was_full;            /* the last one brought a batch, of several */
    unsigned reads_due;       /* replies to XREADGROUP that are not taken yet */
    struct reading_turn turn;
    int64_t batch; /* requests of one turn at most */
};

/* ---- reading ---- */

/* block_ms -1: it does not wait. */
static void append_one_read(struct consumer *c, int64_t count, int block_ms)
{
    char counted[24], wait[16];
    const char *argv[11] = {"XREADGROUP",         "GROUP", "workers",
                            c->session->consumer, "COUNT", counted};
    int n = 6;

    snprintf(counted, sizeof counted, "%" PRId64, count);
    if (block_ms >= 0) {
        snprintf(wait, sizeof wait, "%d", block_ms);
        argv[n++] = "BLOCK";
        argv[n++] = wait;
    }
    argv[n++] = "STREAMS";
    argv[n++] = c->session->stream;
    argv[n++] = ">";
    redis_link_append(c->session->link, n, argv, NULL);
    c->reads_due++;
}

static void append_read(struct consumer *c)
{
    c->was_careful = clock_mono_ms() < c->careful_until_ms;
    bool is_split = !c->was_careful && c->batch > 1 && reading_turn_is_busy(&c->turn);
    append_one_read(c, c->was_careful || is_split ? 1 : c->batch, BLOCK_MS);
    if (is_split)
        append_one_read(c, c->batch - 1, -1);
}

/* What there is, when there was more than we take: nobody's turn, and no wait. False: there was not. */
static bool append_read_of_more(struct consumer *c)
{
    if (!c->was_full || clock_mono_ms() < c->careful_until_ms)
        return false;
    c->was_careful = false;
    append_one_read(c, c->batch, -1);
    return true;
}

/* What a turn has read, NULL where nothing was. */
struct read {
    reply_t *replies[READS];
};

static void read_drop(struct read *r, int i)
{
    reply_free(r->replies[i]);
    r->replies[i] = NULL;
}

static void read_free(struct read *r)
{
    for (int i = 0; i < READS; i++)
        read_drop(r, i);
}

static void release_batch(struct consumer *c)
{
    for (int i = 0; i < READS; i++) {
        reply_free(c->entries[i]);
        c->entries[i] = NULL;
    }
    c->requests = NULL;
    c->len = 0;
    c->was_full = false;
    arena_reset(&c->arena);
}

/* XREADGROUP's reply: nil, or [[stream, [[id, fields], …]]]. */
static bool is_batch(const reply_t *reply)
{
    return reply_type(reply) == REPLY_NIL ||
           (reply_type(reply) == REPLY_ARRAY && reply_count(reply) == 1 &&
            reply_type(reply_at(reply_at(reply, 0), 1)) == REPLY_ARRAY);
}

static const reply_t *entries_of(const reply_t *reply)
{
    return reply ? reply_at(reply_at(reply, 0), 1) : NULL;
}

/* The replies are ours from here on. */
static void take_entries(struct consumer *c, struct read *read)
{
    size_t most = 0;
    int64_t now = clock_mono_us();

    release_batch(c);
    for (int i = 0; i < READS; i++)
        most += reply_count(entries_of(read->replies[i]));
    reading_turn_note(&c->turn, most);
    c->was_full = c->batch > 1 && most >= (size_t)c->batch;
    if (most == 0) { /* nil after BLOCK, or nothing was read */
        read_free(read);
        return;
    }
    memcpy(c->entries, read->replies, sizeof c->entries);
    *read = (struct read){{NULL}};
    c->requests = arena_alloc(&c->arena, most * sizeof *c->requests);
    for (int i = 0; i < READS; i++) {
        const reply_t *list = entries_of(c->entries[i]);
        for (size_t k = 0; k < reply_count(list); k++) {
            struct request *r = &c->requests[c->len];
            if (!request_parse(reply_at(list, k), r))
                continue;
            r->read_us = now;
            c->len++;
        }
    }
    fault_point("after_read");
}

static void say_trouble(struct consumer *c, const char *command, const struct cb_error *err)
{
    unsigned times;

    if (err->code == REDIS_AUTH) {
        supervised_state(c->sup, WORKER_REFUSED);
        if (outage_has_the_word(c->sup))
            log_event(EV_redis_auth, LOG_S("command", command), LOG_S("error", err->text));
        return;
    }
    if (log_repeat_may(&c->said, err->text, &times))
        log_event(EV_redis_error, LOG_S("command", command), LOG_S("error", err->text),
                  LOG_I("times", times));
}

/* Nothing was read, and the server is not to be believed: what it has given us all the same is handed on, else it would stay
 * with us for as long as we live. */
static int doubt_read(struct consumer *c, struct cb_error *err)
{
    supervised_wait(c->sup, backoff_next_full_jitter(&c->trouble));
    if (session_hand_on(c->session, "", "not read", err) != 0 &&
        redis_link_is_lost(c->session->link))
        return -1;
    return 0;
}

/* An error reply to XREADGROUP. Returns 0 to go on, -1 to reconnect. */
static int read_trouble(struct consumer *c, const reply_t *reply, struct cb_error *err)
{
    enum redis_fault fault = reply_fault(reply);

    reply_error(reply, err);
    /* A cluster moves its slots (UNBLOCKED when the stream has left); outage.h tells when that lasts. */
    if (redis_fault_is_elsewhere(fault) && c->session->target.cluster)
        return -1;
    if (fault == REDIS_NOGROUP) {
        if (session_create_group(c->session, c->session->link, err) == 0)
            return 0;
        if (err->code != REDIS_OOM)
            return -1;
    }
    say_trouble(c, "XREADGROUP", err);
    if (fault == REDIS_READONLY || fault == REDIS_PROTOCOL)
        return -1;
    if (fault == REDIS_ERROR)
        return doubt_read(c, err);
    supervised_wait(c->sup, backoff_next_full_jitter(&c->trouble));
    return 0;
}

/* ---- the batch ---- */

/* Queues the calls of all commits, or only of those at the head of the list that are full, so that they keep their order.
 * False: there was none that had not been sent. */
static bool send_commits(struct consumer *c, struct commit *list, bool all)
{
    bool is_any = false;

    for (struct commit *m = list; m && (all || m->is_full); m = m->next) {
        if (m->is_sent)
            continue;
        if (!is_any) { /* what ends us now is not the request that was checked last */
            scoreboard_set_entry(c->sup->slot, NULL);
            fault_point("before_commit");
        }
        is_any = true;
        commit_build(m, c->ctx, &c->arena);
        commit_append(m, c->session->link);
    }
    return is_any;
}

/* Writes what is queued, as far as the socket takes it. A connection that is lost tells it again at the next read. */
static void start_commits(struct consumer *c)
{
    struct cb_error again;

    redis_link_on_writable(c->session->link, &again);
    fault_point("commit_sent");
}

/* Takes the replies of the commits that were sent. Returns 0; -1 when the connection was lost on the way. */
static int take_commits(struct consumer *c, struct commit *list, struct cb_error *err)
{
    for (struct commit *m = list; m && m->is_sent; m = m->next) {
        reply_t *reply CB_CLEANUP(reply_free_ptr) = NULL;
        if (m->is_done)
            continue;
        if (redis_link_read(c->session->link, (int)c->ctx->opts->redis.timeout_ms, &reply, err) !=
            0)
            return -1;
        if (commit_take(m, reply, c->sup, &c->weather, err) != 0 &&
            (err->code == REDIS_LOST ||
             commit_repair(m, c->ctx, &c->arena, c->session, &c->weather, err) != 0))
            return -1;
        fault_point("after_commit");
    }
    return 0;
}

/* Checks requests, does their work, and puts them into commits. Returns how many: when that takes long, those that are done are
 * not to wait for the others. *ret_status is -1 when Redis was lost on the way. */
static size_t check_requests(struct consumer *c, size_t from, size_t len, struct commit **list,
                             int *ret_status, struct cb_error *err)
{
    int64_t until_us = clock_mono_us() + SLICE_US;
    size_t done = 0;
    int status = 0;

    supervised_state(c->sup, WORKER_HANDLING);
    if (c->ctx->policy)
        policy_look(c->ctx->policy, true);
    while (done < len && (done == 0 || clock_mono_us() < until_us)) {
        struct request *r = &c->requests[from + done++];
        scoreboard_set_entry(c->sup->slot, r->entry_id);
        gate_check(r, c->ctx, &c->arena, &c->weather);
        if (!r->refused && r->handler->work) /* it asks Redis on the same connection */
            status = take_commits(c, *list, err);
        if (status == 0)
            status = admission_work(r, c->ctx, &c->arena, c->session, err);
        if (status != 0)
            break;
        commit_group(list, r, &c->arena);
        if (send_commits(c, *list, false))
            start_commits(c);
    }
    scoreboard_set_entry(c->sup->slot, NULL);
    supervised_state(c->sup, WORKER_COMMIT);
    *ret_status = status;
    return done;
}

/* Repairs what failed or was cut off, on a connection that is made new as often as it takes. A commit that was refused
 * SETTLE_TRIES times is left pending and handed on by our caller, which counts as a redelivery: a request that Redis never takes
 * ends as a dead letter, and the others are served meanwhile. Returns 0, or -1 when the worker is to leave first (then the
 * supervisor hands the entries on). */
static int settle(struct consumer *c, struct commit *list, struct cb_error *err)
{
    for (struct commit *m = list; m; m = m->next) {
        for (int refusals = 0; m->is_sent && !m->is_done && refusals < SETTLE_TRIES;) {
            unsigned was_misread = m->misread;
            if (!c->session->link && session_restore(c->session, err) != 0)
                return -1;
            if (commit_repair(m, c->ctx, &c->arena, c->session, &c->weather, err) != 0) {
                refusals += err->code == REDIS_ERROR || m->misread > was_misread;
                outage_note(&c->session->outage, c->sup, err);
                session_drop(c->session);
                if (c->sup->is_orphan)
                    return -1;
                supervised_wait(c->sup, backoff_next_full_jitter(&c->trouble));
            }
        }
    }
    return 0;
}

/* Takes the replies to the reads that were sent. */
static int take_read(struct consumer *c, struct read *ret_read, struct cb_error *err)
{
    int timeout_ms = (int)c->ctx->opts->redis.timeout_ms;
    int status = 0;

    supervised_state(c->sup, c->sup->is_draining ? WORKER_DRAINING : WORKER_IDLE);
    for (int i = 0; c->reads_due > 0 && status == 0; i++) {
        status = redis_link_read(c->session->link, i == 0 ? BLOCK_MS + timeout_ms : timeout_ms,
                                 &ret_read->replies[i], err);
        c->reads_due--;
    }
    c->reads_due = 0;
    reading_turn_give(&c->turn);
    return status;
}

/* Behind the commits: it is our turn, or we wait for it. False: we are to leave first. */
static bool get_turn(struct consumer *c)
{
    if (!reading_turn_take(&c->turn)) {
        supervised_state(c->sup, WORKER_IDLE);
        reading_turn_wait(&c->turn);
        fault_point("turn_waited");
        supervised_turn(c->sup);
    }
    /* There was no read that could be unblocked, and nobody would unblock this one. */
    if (!c->sup->is_draining)
        return true;
    reading_turn_give(&c->turn);
    return false;
}

/* Sends the commits, with the next read behind them when `read_next`: of what there is, when there was more; else one that waits, unless
 * it is another worker's turn to do that. When there is nothing more, or it was not our turn, the one that waits goes out behind the
 * commits. Takes their replies, and leaves the read's in *ret_read (nothing, if it came to none). Returns 0; -1 when the connection was
 * lost on the way. */
static int exchange(struct consumer *c, struct commit *list, bool read_next, struct read *ret_read,
                    struct cb_error *err)
{
    bool is_any = send_commits(c, list, true);

    c->reads_due = 0;
    bool has_more = read_next && append_read_of_more(c);
    bool has_turn = read_next && !has_more && reading_turn_take(&c->turn);
    if (has_turn)
        append_read(c);
    if (FAULT_POINTS && is_any) /* else they leave with the read, in one write */
        start_commits(c);
    if (take_commits(c, list, err) != 0) {
        reading_turn_give(&c->turn);
        return -1;
    }
    if (!read_next)
        return 0;
    if (has_more) {
        if (take_read(c, ret_read, err) != 0)
            return -1;
        if (reply_type(ret_read->replies[0]) != REPLY_NIL)
            return 0;
        read_free(ret_read); /* others have had it */
    }
    if (!has_turn) {
        if (!get_turn(c))
            return 0;
        append_read(c);
    }
    return take_read(c, ret_read, err);
}

/* Redelivered requests come last, so that the others form one batch. Returns how many are not. */
static size_t sort_redelivered(struct consumer *c)
{
    size_t fresh = 0, n = 0;

    for (size_t i = 0; i < c->len; i++)
        fresh += c->requests[i].redelivered == 0;
    if (fresh == c->len)
        return fresh;
    struct request *sorted = arena_alloc(&c->arena, c->len * sizeof *sorted);
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < c->len; i++)
            if ((c->requests[i].redelivered > 0) == (pass == 1))
                sorted[n++] = c->requests[i];
    c->requests = sorted;
    return fresh;
}

/* A reply that the link does not take: if it was that of a single entry, the entry is to blame. */
static int give_back_unread(struct consumer *c, const char *how, struct cb_error *err)
{
    char entry[STREAM_ID_SIZE] = "*";

    c->careful_until_ms = clock_mono_ms() + CAREFUL_MS;
    if (c->was_careful && session_oldest_pending(c->session, entry, err) != 0)
        return -1;
    if (session_hand_on(c->session, entry, how, err) != 0)
        return -1;
    supervised_wait(c->sup, backoff_next_full_jitter(&c->trouble));
    return 0;
}

static int try_recover(struct consumer *c, struct commit *list, const struct cb_error *lost,
                       struct cb_error *err)
{
    session_drop(c->session);
    if (session_restore(c->session, err) != 0 || settle(c, list, err) != 0)
        return -1;
    if (!c->session->link && session_restore(c->session, err) != 0)
        return -1;
    if (lost->code == REDIS_PROTOCOL)
        return give_back_unread(c, lost->text, err);
    return session_hand_on(c->session, "",
                           lost->code == REDIS_ERROR ? "not committed" : "connection lost", err);
}

/* After a lost connection: finish what is in hand, then give back what never arrived. Tried until it is done;
 * -1 when the worker must leave first. */
static int recover(struct consumer *c, struct commit *list, struct cb_error *err)
{
    struct cb_error lost = *err;
    int64_t since_ms = clock_wall_ms();

    outage_note(&c->session->outage, c->sup, err);
    if (!c->is_answered) /* a server that takes connections, and no more than that */
        supervised_wait(c->sup, backoff_next_full_jitter(&c->trouble));
    c->is_answered = false;
    while (try_recover(c, list, &lost, err) != 0) {
        if (c->sup->is_draining || err->code == SESSION_UNSUITABLE)
            return -1;
        if ((!c->session->link || redis_link_is_lost(c->session->link)) &&
            !outage_is_ours(c->sup, since_ms))
            outage_note(&c->session->outage, c->sup, err);
        else
            say_trouble(c, "recovery", err);
        supervised_wait(c->sup, backoff_next_full_jitter(&c->trouble));
    }
    return 0;
}

/* Commits what was checked, and, when these are the last ones of the batch, reads the next one in the same exchange. Returns 0, or
 * -1 when the worker must leave. */
static int commit_span(struct consumer *c, struct commit *list, bool is_last, struct read *ret_read,
                       struct cb_error *err)
{
    bool read_next = is_last && !c->sup->is_draining;
    int status = 0;

    if (exchange(c, list, read_next, ret_read, err) != 0) {
        read_free(ret_read);
        status = recover(c, list, err);
    }
    commit_list_done(list);
    return status;
}

/* What was read is a batch, or nothing. Nothing, long before the time to block is over, comes from a server that does not block: it
 * is not to set our pace. Returns 0, or -1 to reconnect. */
static int note_read(struct consumer *c, const struct read *read, int64_t asked_ms,
                     struct cb_error *err)
{
    c->is_answered = true;
    if (reply_type(read->replies[0]) != REPLY_NIL || c->sup->is_draining ||
        clock_mono_ms() - asked_ms >= BLOCK_MS / 2) {
        backoff_reset(&c->trouble);
        log_repeat_over(&c->said);
        return 0;
    }
    cb_error_set(err, REDIS_LOST, "nothing, before its time");
    say_trouble(c, "XREADGROUP", err);
    return doubt_read(c, err);
}

/* The read cannot be used: all that is pending on us is handed on. Returns 0, or -1 when the worker must leave. */
static int give_up_read(struct consumer *c, struct cb_error *err)
{
    release_batch(c);
    return recover(c, NULL, err);
}

/* What the replies are worth: takes the requests that are in them, or leaves none. Returns 0, or -1 when the worker must leave. */
static int judge_read(struct consumer *c, struct read *read, int64_t began_ms, struct cb_error *err)
{
    reply_t *first = read->replies[0], *rest = read->replies[1];

    for (int i = 0; i < READS; i++)
        if (read->replies[i] && !reply_is_error(read->replies[i]) && !is_batch(read->replies[i])) {
            cb_error_set(err, REDIS_LOST, "unexpected reply to XREADGROUP");
            return give_up_read(c, err);
        }
    if (rest && reply_is_error(rest)) /* if it lasts, the next read meets it again */
        read_drop(read, 1);
    if (first && reply_is_error(first)) {
        if (read_trouble(c, first, err) != 0) {
            release_batch(c);
            return recover(c, NULL, err);
        }
        read_drop(read, 0);
    } else if (first && note_read(c, read, began_ms, err) != 0) {
        return give_up_read(c, err);
    }
    /* What was handed on meanwhile is not ours any more, and its commit changes nothing. */
    take_entries(c, read);
    return 0;
}

/* One turn of the loop: the batch in hand, then the next read. */
static int turn(struct consumer *c, struct cb_error *err)
{
    struct read read = {{NULL}};
    int64_t began_ms = clock_mono_ms();
    size_t fresh = sort_redelivered(c);
    int status = 0;

    if (c->len == 0)
        status = commit_span(c, NULL, true, &read, err);
    for (size_t i = 0, n; i < c->len && status == 0; i += n) {
        struct commit *list = NULL;
        n = check_requests(c, i, i < fresh ? fresh - i : 1, &list, &status, err);
        if (status != 0) { /* what was not sent is not committed: all of that is handed on */
            status = recover(c, list, err);
            commit_list_done(list);
            release_batch(c);
            return status;
        }
        status = commit_span(c, list, i + n == c->len, &read, err);
    }
    if (status == 0)
        status = judge_read(c, &read, began_ms, err);
    read_free(&read);
    return status;
}

static void unblock_on_drain(void *arg)
{
    session_unblock(arg);
}

int consume_run(struct session *session, const struct handler_context *ctx, bool is_careful,
                struct cb_error *err)
{
    struct consumer c = {.session = session, .ctx = ctx, .sup = session->sup, .is_answered = true};
    const struct domain_options *domain = options_domain(ctx->opts, ctx->domain);
    int status = 0;

    c.careful_until_ms = is_careful ? clock_mono_ms() + CAREFUL_MS : 0;
    c.batch = domain->batch;
    reading_turn_init(&c.turn, c.sup->board, options_domain_number(ctx->domain),
                      (unsigned)(c.sup->slot - c.sup->board->slots));
    backoff_init(&c.trouble, FAULT_WAIT_MIN_MS, FAULT_WAIT_MAX_MS);
    c.sup->on_drain = unblock_on_drain;
    c.sup->on_drain_arg = session;
    while (status == 0 && (!c.sup->is_draining || c.len > 0)) {
        supervised_turn(c.sup);
        if (ctx->policy)
            policy_look(ctx->policy, false);
        status = turn(&c, err);
    }
    c.sup->on_drain = NULL;
    release_batch(&c);
    arena_done(&c.arena);
    return status;
}

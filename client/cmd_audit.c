/*
 * cmd_audit.c: claudebench audit: shows the audit trail, follows it, and checks the file's chain.
 *
 * It reads the audit file of this host (audit.file), or, when that cannot be read, what cb:stream:audit still has, and says so.
 */
#include "common/compat.h"
#include "client/verbs.h"

#include "client/audit.h"
#include "client/interval.h"
#include "common/clock.h"
#include "common/exitcode.h"
#include "common/keys.h"
#include "common/rfc3339.h"
#include "common/rules/rules.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

enum { SHOWN = 50, LOOK_MS = 200, PAGE = 500, BLOCK_MS = 2000, MOST_MAX = 1000000 };

static const struct cli_option audit_options[] = {
    {'f', "follow", NULL, "Wait for new records."},
    {'n', "lines", "N", "Only the last N that match (default: 50; with --since: all); 0: all."},
    {0, "since", "WHEN",
     "Only records behind this: the id of one, a time (2026-11-22T08:00:00Z), or so long ago (90s, "
     "15m, 6h, 1d)."},
    {'t', "type", "GLOB", "Only records whose kind matches, for instance 'hook.*'."},
    {'d', "decision", "WORD", "Only records with this decision: none, allow, modify, ask or deny."},
    {'s', "session", "ID", "Only records of this session."},
    {0, "stream", NULL, "Read the stream in Redis, not the file."},
    {0, "verify", NULL, "Check that no line of the file was changed, added, moved or removed."},
    {'j', "json", NULL, "Print one JSON object per record, as it is in the file."},
    {0, NULL, NULL, NULL},
};

static int run_audit(const struct cli *cli);

const struct cli_verb verb_audit = {
    .name = "audit",
    .operands = "[verify] [FILE...]",
    .min_operands = 0,
    .max_operands = -1,
    .summary = "Show what the hooks decided, or check the audit file.",
    .notes =
        "With `verify` or --verify: exit 0 when the chain is whole, 1 with the first bad line.\n"
        "FILEs: other files than audit.file, in any order.\n",
    .options = audit_options,
    .run = run_audit,
};

struct reader {
    const struct cli *cli;
    struct session s;
    struct redis_link *link;
    struct arena arena;
    struct audit_show show;
    char *const *paths; /* NULL: audit.file */
};

/* ---- the file ---- */

static int show_lines(struct reader *rd, struct audit_lines *l, const char *path)
{
    const char *text;
    size_t len;
    int status = -1;

    while (status == -1 && audit_lines_next(l, &text, &len))
        status = audit_show_record(&rd->show, text, len);
    if (status == -1 && l->error) {
        cli_say("%s: %s", path, strerror(l->error));
        status = EXITCODE_NOINPUT;
    }
    return status;
}

static int show_file(struct reader *rd, const char *path)
{
    struct audit_lines l;
    int status = EXITCODE_NOINPUT;

    if (audit_lines_open(&l, path) != 0)
        cli_say("%s: %s", path, strerror(errno));
    else
        status = show_lines(rd, &l, path);
    audit_lines_close(&l);
    return status;
}

/* Is there another file of that name by now, or is it shorter than what was read of it? */
static bool is_other(const struct audit_lines *l, const char *path)
{
    struct stat now, ours;

    if (stat(path, &now) != 0 || fstat(l->fd, &ours) != 0)
        return false;
    return now.st_ino != ours.st_ino || now.st_dev != ours.st_dev ||
           now.st_size < lseek(l->fd, 0, SEEK_CUR);
}

/* The current file to its end, then what comes; after a rotation, the next one from its beginning. */
static int follow_file(struct reader *rd, const char *path)
{
    struct audit_lines l;
    int status = EXITCODE_NOINPUT;

    if (audit_lines_open(&l, path) != 0) {
        cli_say("%s: %s", path, strerror(errno));
        return EXITCODE_NOINPUT;
    }
    status = show_lines(rd, &l, path);
    if (status == -1)
        status = audit_show_end(&rd->show);
    rd->show.most = -1;
    while (status == -1) {
        bool is_over = is_other(&l, path);
        status = show_lines(rd, &l, path); /* what came before it was moved */
        struct audit_lines next;
        if (status == -1 && is_over && audit_lines_open(&next, path) == 0) {
            audit_lines_close(&l);
            l = next;
        }
        poll(NULL, 0, LOOK_MS);
        if (status == -1 && cli_reader_is_gone())
            status = EXITCODE_FAILURE;
    }
    audit_lines_close(&l);
    return status;
}

/* The last so many records lie in the last two files, or nobody will miss them. */
static int show_files(struct reader *rd, bool is_all)
{
    struct audit_files files;
    int status = -1;

    audit_files_find(&files, rd->s.opts->audit.file, rd->paths);
    size_t last = files.len - rd->show.is_following;
    for (size_t i = is_all || files.len < 2 ? 0 : files.len - 2; status == -1 && i < last; i++)
        status = show_file(rd, files.paths[i]);
    if (status == -1 && rd->show.is_following)
        status = follow_file(rd, files.paths[last]);
    if (status == -1)
        status = audit_show_end(&rd->show);
    audit_files_done(&files);
    return status == -1 ? EXITCODE_OK : status;
}

/* ---- the stream ---- */

static int open_link(struct reader *rd, struct cb_error *err)
{
    if (connect_target(rd->s.opts, CONNECT_CLIENT, &rd->s.target, err) != 0)
        return -1;
    rd->s.has_target = true;
    if (redis_link_open(&rd->s.target, "claudebench", &rd->link, err) == 0)
        return 0;
    rd->link = NULL;
    err->code = EXITCODE_UNAVAILABLE;
    return -1;
}

/* An entry as the line that the file would have of it, without its place in the chain. */
static int show_entry(struct reader *rd, const reply_t *entry)
{
    struct buf line CB_CLEANUP(buf_done) = BUF_INIT;
    struct audit_position p;
    const char *id = reply_str(reply_at(entry, 0));
    struct audit_entry e = {
        .id = id, .kind = {"", 0}, .at_ms = strtoll(id, NULL, 10), .data = {"null", 4}};
    const reply_t *fields = reply_at(entry, 1);

    for (size_t i = 0; i + 1 < reply_count(fields); i += 2) {
        const char *name = reply_str(reply_at(fields, i));
        const reply_t *value = reply_at(fields, i + 1);
        if (strcmp(name, "kind") == 0)
            e.kind = (struct json_span){reply_str(value), reply_bytes(value)};
        else if (strcmp(name, "data") == 0)
            e.data = (struct json_span){reply_str(value), reply_bytes(value)};
        else if (strcmp(name, "at") == 0 && reply_int(value) > 0)
            e.at_ms = reply_int(value);
    }
    audit_position_init(&p);
    audit_chain_put(&p, &e, &line);
    /* {"seq":1,"n":0,"id": … ,"prev":…} */
    char *from = strstr(line.data, ",\"id\":"), *to = line.data + line.len;
    size_t tail = strlen(",\"prev\":\"\",\"hash\":\"\"}\n") + 2 * (AUDIT_HASH_SIZE - 1);
    *from = '{';
    to -= tail;
    *to = '}';
    return audit_show_record(&rd->show, from, (size_t)(to + 1 - from));
}

static int show_entries(struct reader *rd, const reply_t *entries, char last[STREAM_ID_SIZE])
{
    int status = -1;

    for (size_t i = 0; status == -1 && i < reply_count(entries); i++) {
        status = show_entry(rd, reply_at(entries, i));
        snprintf(last, STREAM_ID_SIZE, "%s", reply_str(reply_at(reply_at(entries, i), 0)));
    }
    return status;
}

/* -2: the connection failed. */
static int read_pages(struct reader *rd, const char *key, char last[STREAM_ID_SIZE],
                      struct cb_error *err)
{
    size_t count = PAGE;
    int status = -1;

    while (status == -1 && count == PAGE) {
        reply_t *r CB_CLEANUP(reply_free_ptr) = NULL;
        char from[STREAM_ID_SIZE + 1];
        snprintf(from, sizeof from, "(%s", last);
        if (redis_link_callv(rd->link, &r, err, "XRANGE", key, from, "+", "COUNT", "500", NULL) !=
            0)
            return -2;
        count = reply_count(r);
        status = show_entries(rd, r, last);
    }
    return status;
}

static int read_blocking(struct reader *rd, const char *key, char last[STREAM_ID_SIZE],
                         struct cb_error *err)
{
    reply_t *r CB_CLEANUP(reply_free_ptr) = NULL;

    redis_link_appendv(rd->link, "XREAD", "COUNT", "500", "BLOCK", "2000", "STREAMS", key, last,
                       NULL);
    if (redis_link_read(rd->link, BLOCK_MS + rd->s.target.timeout_ms, &r, err) != 0)
        return -2;
    if (reply_is_error(r)) {
        cb_error_set(err, EXITCODE_SOFTWARE, "%s", reply_str(r));
        return -2;
    }
    const reply_t *stream = reply_at(r, 0);
    return stream ? show_entries(rd, reply_at(stream, 1), last) : -1;
}

static int show_stream(struct reader *rd)
{
    struct cb_error err = {0};
    const char *key = keys_make(&rd->arena, rd->s.opts->redis.prefix, KEY_AUDIT);
    char last[STREAM_ID_SIZE] = "0-0";
    int status;

    if (open_link(rd, &err) != 0) {
        cli_say("%s; is claudebenchd running?", err.text);
        return err.code;
    }
    if (rd->show.since_id[0])
        snprintf(last, sizeof last, "%s", rd->show.since_id);
    status = read_pages(rd, key, last, &err);
    if (status == -1)
        status = audit_show_end(&rd->show);
    if (rd->show.is_following)
        rd->show.most = -1;
    while (status == -1 && rd->show.is_following)
        status = cli_reader_is_gone() ? EXITCODE_FAILURE : read_blocking(rd, key, last, &err);
    if (status == -2)
        cli_say("%s", err.text);
    return status == -1 ? EXITCODE_OK : status == -2 ? EXITCODE_UNAVAILABLE : status;
}

/* ---- checking ---- */

/* The last line as the daemon has told Redis: without it, lines that are missing at the end are not noticed. */
static bool ask_head(struct reader *rd, struct audit_position *ret)
{
    struct cb_error err = {0};
    reply_t *r CB_CLEANUP(reply_free_ptr) = NULL;
    const char *key = keys_make(&rd->arena, rd->s.opts->redis.prefix, KEY_AUDIT_HEAD,
                                rd->s.opts->instance.id);

    if (open_link(rd, &err) == 0 && redis_link_callv(rd->link, &r, &err, "GET", key, NULL) == 0 &&
        audit_position_parse(reply_str(r), ret) == 0)
        return true;
    cli_say("%s%sthe end of the file is not checked against what was written", err.text,
            err.text[0] ? "; " : "Redis knows nothing of this file; ");
    return false;
}

static int verify(struct reader *rd)
{
    const char *path = rd->s.opts->audit.file;
    struct audit_files files;
    struct audit_position head;

    if (!rd->paths && !path[0]) {
        cli_say("there is no audit file (audit.file is empty)");
        return EXITCODE_NOINPUT;
    }
    bool has_head = !rd->paths && ask_head(rd, &head);
    audit_files_find(&files, path, rd->paths);
    if (files.packed)
        cli_say("%zu compressed file%s not checked", files.packed,
                files.packed == 1 ? " is" : "s are");
    int status = audit_verify(&files, has_head ? &head : NULL, rd->show.is_json);
    audit_files_done(&files);
    return status;
}

/* ---- start ---- */

/* The file, or why not. */
static bool has_file(const struct reader *rd)
{
    const char *path = rd->s.opts->audit.file;

    if (rd->paths)
        return true;
    if (cli_is_set(rd->cli, "stream"))
        return false;
    if (path[0] && access(path, R_OK) == 0) {
        if (rd->show.term.is_tty && !rd->show.is_json)
            cli_say("these are records of %s", path);
        return true;
    }
    if (path[0])
        cli_say("%s: %s; showing what the stream has", path, strerror(errno));
    else
        cli_say("there is no audit file; showing what the stream has");
    return false;
}

static int take_since(struct reader *rd, const char *since)
{
    size_t n = strspn(since, "0123456789-");

    if (n > 0 && !since[n] && strlen(since) < STREAM_ID_SIZE - 2 && since[0] != '-') {
        snprintf(rd->show.since_id, sizeof rd->show.since_id, "%s%s", since,
                 strchr(since, '-') ? "" : "-0");
        return -1;
    }
    if (rfc3339_parse(since, strlen(since), &rd->show.since_ms) == 0)
        return -1;
    int64_t ago_ms;
    if (interval_parse(since, true, &ago_ms) != 0)
        return cli_wrong_use(rd->cli->verb,
                             "--since: \"%s\" is not the id of a record, a time such as "
                             "2026-11-22T08:00:00Z, or a number with its unit (ms, s, m, h, d)",
                             since);
    int64_t now_ms = clock_wall_ms();
    rd->show.since_ms = now_ms > ago_ms ? now_ms - ago_ms : 0;
    return -1;
}

/* A word that no record has would show nothing, as if nothing had been refused. */
static int check_decision(const struct cli *cli)
{
    const char *word = cli_value(cli, "decision", NULL);

    if (!word)
        return -1;
    for (int i = RULES_NONE; i <= RULES_DENY; i++)
        if (i != RULES_WARN && strcmp(word, rules_action_name((enum rules_action)i)) == 0)
            return -1;
    return cli_wrong_use(cli->verb, "--decision: \"%s\" is not none, allow, modify, ask or deny",
                         word);
}

static int start(struct reader *rd)
{
    const struct cli *cli = rd->cli;
    const char *since = cli_value(cli, "since", NULL);
    bool is_verify = cli->noperands > 0 && strcmp(cli->operands[0], "verify") == 0;
    int status = since ? take_since(rd, since) : -1;

    if (status < 0)
        status = check_decision(cli);
    if (status < 0 && cli_int(cli, "lines", 0, MOST_MAX, since ? 0 : SHOWN, &rd->show.most) != 0)
        status = EXITCODE_USAGE;
    if (status < 0)
        status = session_load(&rd->s, cli);
    if (status >= 0)
        return status;
    if (cli->noperands > is_verify)
        rd->paths = cli->operands + is_verify;
    if (is_verify || cli_is_set(cli, "verify"))
        return verify(rd);
    return has_file(rd) ? show_files(rd, since || rd->show.most == 0 || rd->paths)
                        : show_stream(rd);
}

static int run_audit(const struct cli *cli)
{
    struct reader rd = {
        .cli = cli,
        .show = {.type = cli_value(cli, "type", NULL),
                 .decision = cli_value(cli, "decision", NULL),
                 .session = cli_value(cli, "session", NULL),
                 .since_ms = -1,
                 .is_json = cli_is_set(cli, "json"),
                 .is_following = cli_is_set(cli, "follow"),
                 .term = term_detect(STDOUT_FILENO)},
    };
    int status = start(&rd);

    redis_link_free(rd.link);
    session_close(&rd.s);
    arena_done(&rd.arena);
    audit_show_done(&rd.show);
    return status;
}

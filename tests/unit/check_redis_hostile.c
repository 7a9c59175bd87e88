/*
 * check_redis_hostile.c: what a broken or malicious server sends (row F17 of tests/results/faults.md): the connection is dropped
 * with REDIS_PROTOCOL (or REDIS_LOST), memory stays bounded, nothing crashes. And the bounds checker
 * itself, in one piece and byte by byte.
 */
#include "common/compat.h"
#include "unit.h"

#include "common/clock.h"
#include "common/mem.h"
#include "common/redis_link_reader.h"
#include "hostile_server.h"

#include <sys/resource.h>

enum { MEMORY_KIB_MAX = 32 << 10 };

static long peak_kib(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_maxrss;
}

/* Asks a server of this plan for one reply. Returns the fault, REDIS_OK when a reply came. */
static enum redis_fault ask(const struct hostile_plan *plan, int timeout_ms)
{
    struct hostile_server s;
    struct redis_link *link = NULL;
    struct cb_error err = {0};
    reply_t *reply = NULL;
    long before = peak_kib();
    hostile_server_start(&s, plan);
    ck_assert_msg(redis_link_open(&s.target, NULL, &link, &err) == 0, "%s", err.text);
    redis_link_appendv(link, "GO", NULL);
    if (redis_link_read(link, timeout_ms, &reply, &err) == 0) {
        err.code = REDIS_OK;
        ck_assert_ptr_nonnull(reply);
        reply_free(reply);
    } else {
        ck_assert(redis_link_is_lost(link));
        ck_assert_int_ne(err.text[0], '\0');
    }
    redis_link_free(link);
    hostile_server_done(&s);
    ck_assert_int_lt(peak_kib() - before, MEMORY_KIB_MAX);
    return (enum redis_fault)err.code;
}

static enum redis_fault ask_for(const char *payload)
{
    return ask(&(struct hostile_plan){.handshake = HOSTILE_HANDSHAKE, .payload = payload}, 5000);
}

static enum redis_fault ask_endless(const char *payload)
{
    const struct hostile_plan plan = {
        .handshake = HOSTILE_HANDSHAKE, .payload = payload, .is_endless = true};
    return ask(&plan, 20000);
}

START_TEST(garbage_is_refused)
{
    static const char *const garbage[] = {
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "\r\n",
        "OK\r\n",
        "$abc\r\n",
        "$\r\n",
        "$-2\r\n",
        "$-0\r\n",
        "$--1\r\n",
        "$01\r\nx\r\n",
        "$+1\r\nx\r\n",
        "$1 \r\nx\r\n",
        "$3\rxabc\r\n",
        "$3\r\nabcd\r\n",
        "$3\r\nabc\rx",
        "*-2\r\n",
        "*x\r\n",
        ":12x\r\n",
        ":\r\n",
        ":99999999999999999999\r\n",
        "*2\r\n:1\r\n!\r\n",
        "*1\r\n:x\r\n",
    };
    for (size_t i = 0; i < CB_ARRAY_LEN(garbage); i++)
        ck_assert_msg(ask_for(garbage[i]) == REDIS_PROTOCOL, "%s", garbage[i]);
    const struct hostile_plan zeros = {
        .handshake = HOSTILE_HANDSHAKE, .payload = "\0\0\0", .payload_len = 3};
    ck_assert_int_eq(ask(&zeros, 5000), REDIS_PROTOCOL);
}
END_TEST

START_TEST(resp3_is_refused)
{
    static const char *const types[] = {
        ">2\r\n+invalidate\r\n*0\r\n",
        "%1\r\n+a\r\n:1\r\n",
        "~1\r\n:1\r\n",
        "_\r\n",
        "#t\r\n",
        ",1.5\r\n",
        "(123456789\r\n",
        "=5\r\ntxt:a\r\n",
        "!3\r\nERR\r\n",
        "|1\r\n+a\r\n:1\r\n:2\r\n",
        "*1\r\n>1\r\n+x\r\n",
    };
    for (size_t i = 0; i < CB_ARRAY_LEN(types); i++)
        ck_assert_msg(ask_for(types[i]) == REDIS_PROTOCOL, "%s", types[i]);
}
END_TEST

/* Refused when announced, not when received. */
START_TEST(huge_lengths)
{
    static const char *const huge[] = {
        "$2147483647\r\n",
        "$67108865\r\n",
        "$4294967296\r\n",
        "$9999999999\r\n",
        "$9223372036854775807\r\n",
        "$18446744073709551615\r\n",
        "*2147483647\r\n",
        "*4294967295\r\n",
        "*1048577\r\n",
        "*9223372036854775807\r\n",
        "*2\r\n*1000000\r\n",
        "*3\r\n$5\r\nhello\r\n$67108800\r\n",
    };
    for (size_t i = 0; i < CB_ARRAY_LEN(huge) - 2; i++)
        ck_assert_msg(ask_for(huge[i]) == REDIS_PROTOCOL, "%s", huge[i]);
    struct redis_link_reader reader;
    reply_t *r = NULL;
    size_t room;
    redis_link_reader_init(&reader);
    memcpy(redis_link_reader_room(&reader, &room), "*2\r\n*1048575\r\n", 14);
    redis_link_reader_added(&reader, 14);
    ck_assert_int_eq(redis_link_reader_next(&reader, &r, NULL), -1);
    redis_link_reader_done(&reader);
}
END_TEST

START_TEST(endless_bulk_and_lines)
{
    ck_assert_int_eq(ask_endless("+line without an end "), REDIS_PROTOCOL);
    ck_assert_int_eq(ask_endless("-"), REDIS_PROTOCOL);
    ck_assert_int_eq(ask_endless(":1"), REDIS_PROTOCOL);
    ck_assert_int_eq(ask_endless("*1\r\n"), REDIS_PROTOCOL);
    ck_assert_int_eq(ask_endless("*7\r\n"), REDIS_PROTOCOL);
}
END_TEST

START_TEST(deep_nesting)
{
    enum { DEPTH = 1000000 };
    char *deep = mem_alloc(DEPTH * 4 + 1);
    for (int i = 0; i < DEPTH; i++)
        memcpy(deep + 4 * i, "*1\r\n", 4);
    ck_assert_int_eq(ask_for(deep), REDIS_PROTOCOL);
    memcpy(deep + 4 * RESP_MAX_DEPTH, ":1\r\n", 5);
    ck_assert_int_eq(ask_for(deep), REDIS_OK);
    memcpy(deep + 4 * RESP_MAX_DEPTH, "*0\r\n", 5);
    ck_assert_int_eq(ask_for(deep), REDIS_OK);
    memcpy(deep + 4 * (RESP_MAX_DEPTH + 1), ":1\r\n", 5);
    memcpy(deep + 4 * RESP_MAX_DEPTH, "*1\r\n", 4);
    ck_assert_int_eq(ask_for(deep), REDIS_PROTOCOL);
    free(deep);
}
END_TEST

/* The first answer is taken; the rest was not asked for. */
START_TEST(flood_of_errors)
{
    struct hostile_server s;
    struct redis_link *link = NULL;
    struct cb_error err = {0};
    reply_t *reply = NULL;
    long before = peak_kib();
    hostile_server_start(&s, &(struct hostile_plan){.handshake = HOSTILE_HANDSHAKE,
                                                    .payload = "-ERR no\r\n-ERR no\r\n-ERR no\r\n",
                                                    .is_endless = true});
    ck_assert_int_eq(redis_link_open(&s.target, NULL, &link, &err), 0);
    redis_link_appendv(link, "GO", NULL);
    redis_link_appendv(link, "PING", NULL);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(redis_link_read(link, 5000, &reply, &err), 0);
        ck_assert_int_eq(reply_fault(reply), REDIS_ERROR);
        reply_free(reply);
    }
    ck_assert_int_eq(redis_link_take(link, &reply, &err), -1);
    ck_assert_int_eq(err.code, REDIS_PROTOCOL);
    redis_link_free(link);
    hostile_server_done(&s);
    ck_assert_int_lt(peak_kib() - before, MEMORY_KIB_MAX);
}
END_TEST

/* What is there before a command is written is not the answer to it. */
START_TEST(answer_before_the_question)
{
    struct hostile_server s;
    struct redis_link *link = NULL;
    struct cb_error err = {0};
    reply_t *reply = NULL;
    hostile_server_start(&s, &(struct hostile_plan){.handshake = HOSTILE_HANDSHAKE,
                                                    .payload = "-ERR one\r\n-ERR two\r\n"});
    ck_assert_int_eq(redis_link_open(&s.target, NULL, &link, &err), 0);
    redis_link_appendv(link, "GO", NULL);
    ck_assert_int_eq(redis_link_read(link, 5000, &reply, &err), 0);
    ck_assert_str_eq(reply_str(reply), "ERR one");
    reply_free(reply);
    reply = NULL;
    redis_link_appendv(link, "PING", NULL);
    ck_assert_int_eq(redis_link_read(link, 5000, &reply, &err), -1);
    ck_assert_int_eq(err.code, REDIS_PROTOCOL);
    redis_link_free(link);
    hostile_server_done(&s);
}
END_TEST

/* Flooded while it has a lot to write that nobody reads. */
START_TEST(flood_while_writing)
{
    struct hostile_server s;
    struct redis_link *link = NULL;
    struct cb_error err = {0};
    reply_t *reply = NULL;
    char *big = mem_alloc(4 << 20);
    hostile_server_start(&s, &(struct hostile_plan){.handshake = HOSTILE_HANDSHAKE,
                                                    .payload = "-ERR no\r\n-ERR no\r\n-ERR no\r\n",
                                                    .is_endless = true});
    ck_assert_int_eq(redis_link_open(&s.target, NULL, &link, &err), 0);
    memset(big, 'x', (4 << 20) - 1);
    redis_link_appendv(link, "GO", NULL);
    redis_link_appendv(link, "ECHO", big, NULL);
    long before = peak_kib();
    ck_assert_int_eq(redis_link_read(link, 5000, &reply, &err), 0);
    reply_free(reply);
    ck_assert_uint_gt(redis_link_queued(link), 0);
    ck_assert_int_eq(redis_link_read(link, 5000, &reply, &err), 0);
    reply_free(reply);
    ck_assert_int_lt(peak_kib() - before, MEMORY_KIB_MAX);
    free(big);
    redis_link_free(link);
    hostile_server_done(&s);
}
END_TEST

START_TEST(reply_to_nothing)
{
    struct hostile_server s;
    struct redis_link *link = NULL;
    struct cb_error err = {0};
    hostile_server_start(
        &s, &(struct hostile_plan){.handshake = HOSTILE_HANDSHAKE "+surprise\r\n", .payload = ""});
    ck_assert_int_eq(redis_link_open(&s.target, NULL, &link, &err), -1);
    ck_assert_int_eq(err.code, REDIS_PROTOCOL);
    hostile_server_done(&s);
}
END_TEST

START_TEST(half_replies)
{
    static const char *const halves[] = {
        "",  "$",  "$5",    "$5\r", "$5\r\nhel", "$5\r\nhello", "$5\r\nhello\r", "*2\r\n:1\r\n",
        "*", "+O", "+OK\r", ":1",   "-ERR",      "*1\r\n$",     "*1\r\n*1\r\n",
    };
    for (size_t i = 0; i < CB_ARRAY_LEN(halves); i++) {
        struct hostile_plan plan = {
            .handshake = HOSTILE_HANDSHAKE, .payload = halves[i], .is_closing = true};
        ck_assert_msg(ask(&plan, 5000) == REDIS_LOST, "%s, closed", halves[i]);
        plan.is_closing = false;
        ck_assert_msg(ask(&plan, 20) == REDIS_LOST, "%s, left hanging", halves[i]);
    }
}
END_TEST

START_TEST(whole_reply_then_closed)
{
    const struct hostile_plan plan = {.handshake = HOSTILE_HANDSHAKE,
                                      .payload = "*2\r\n$5\r\nhello\r\n:1\r\n",
                                      .chunk = 1,
                                      .is_closing = true};
    ck_assert_int_eq(ask(&plan, 5000), REDIS_OK);
}
END_TEST

/* ---- in the handshake ---- */

static enum redis_fault open_with(const char *handshake, bool is_endless)
{
    struct hostile_server s;
    struct redis_link *link = NULL;
    struct cb_error err = {0};
    long before = peak_kib();
    hostile_server_start(&s, &(struct hostile_plan){.handshake = "",
                                                    .payload = handshake,
                                                    .is_endless = is_endless,
                                                    .is_closing = true});
    if (redis_link_open(&s.target, NULL, &link, &err) == 0)
        err.code = REDIS_OK;
    redis_link_free(link);
    hostile_server_done(&s);
    ck_assert_int_lt(peak_kib() - before, MEMORY_KIB_MAX);
    return (enum redis_fault)err.code;
}

START_TEST(bad_handshakes)
{
    ck_assert_int_eq(open_with(HOSTILE_HANDSHAKE, false), REDIS_OK);
    ck_assert_int_eq(open_with("", false), REDIS_LOST);
    ck_assert_int_eq(open_with(":7\r\n", false), REDIS_LOST);
    ck_assert_int_eq(open_with("-ERR max number of clients reached\r\n", false), REDIS_MAXCLIENTS);
    ck_assert_int_eq(open_with("-LOADING Redis is loading the dataset\r\n", false), REDIS_LOADING);
    ck_assert_int_eq(open_with(":7\r\n-LOADING Redis is loading\r\n", false), REDIS_LOADING);
    ck_assert_int_eq(open_with(":7\r\n-MASTERDOWN no link\r\n", false), REDIS_READONLY);
    ck_assert_int_eq(open_with("-BUSY script\r\n", false), REDIS_BUSY);
    ck_assert_int_eq(open_with("-DENIED protected mode\r\n", false), REDIS_AUTH);
    ck_assert_int_eq(open_with("-ERR unknown command 'CLIENT'\r\n", false), REDIS_ERROR);
    ck_assert_int_eq(open_with("+OK\r\n+PONG\r\n", false), REDIS_PROTOCOL);
    ck_assert_int_eq(open_with(":7\r\n:8\r\n", false), REDIS_PROTOCOL);
    ck_assert_int_eq(open_with("*1\r\n:7\r\n", false), REDIS_PROTOCOL);
    ck_assert_int_eq(open_with("$-1\r\n", false), REDIS_PROTOCOL);
    ck_assert_int_eq(open_with("220 smtp.example ESMTP\r\n", false), REDIS_PROTOCOL);
    ck_assert_int_eq(open_with("$2147483647\r\n", false), REDIS_PROTOCOL);
    ck_assert_int_eq(open_with("-ERR flood\r\n", true), REDIS_ERROR);
    ck_assert_int_eq(open_with("x", true), REDIS_PROTOCOL);
}
END_TEST

/* ---- the reader by itself ---- */

static void feed(struct redis_link_reader *reader, const char *data, size_t len)
{
    size_t room;
    char *to = redis_link_reader_room(reader, &room);
    ck_assert_uint_ge(room, len);
    memcpy(to, data, len);
    redis_link_reader_added(reader, len);
}

START_TEST(byte_by_byte_is_the_same)
{
    static const char stream[] =
        "+OK\r\n-ERR a\rb\nc\r\r\n:-42\r\n$-1\r\n*-1\r\n$0\r\n\r\n*0\r\n$4\r\n\r\n\r\n\r\n"
        "*3\r\n*2\r\n+a\r\n*0\r\n$3\r\nabc\r\n*1\r\n*-1\r\n";
    enum { REPLIES = 9 };
    struct redis_link_reader whole, bytes;
    int from_whole = 0, from_bytes = 0;
    reply_t *r = NULL;
    redis_link_reader_init(&whole);
    redis_link_reader_init(&bytes);
    feed(&whole, stream, sizeof stream - 1);
    while (redis_link_reader_next(&whole, &r, NULL) == 0 && r) {
        from_whole++;
        reply_free(r);
    }
    for (size_t i = 0; i < sizeof stream - 1; i++) {
        feed(&bytes, stream + i, 1);
        ck_assert_int_eq(redis_link_reader_next(&bytes, &r, NULL), 0);
        from_bytes += r != NULL;
        reply_free(r);
    }
    ck_assert_int_eq(from_whole, REPLIES);
    ck_assert_int_eq(from_bytes, REPLIES);
    redis_link_reader_done(&whole);
    redis_link_reader_done(&bytes);
}
END_TEST

START_TEST(largest_bulk_is_taken)
{
    enum { PIECE = 16 << 10, HEADER = 11 };
    size_t total = RESP_MAX_REPLY_BYTES - HEADER - 2;
    struct redis_link_reader reader;
    struct cb_error err = {0};
    reply_t *r = NULL;
    char header[16], *piece = mem_alloc(PIECE);
    snprintf(header, sizeof header, "$%zu\r\n", total);
    ck_assert_uint_eq(strlen(header), HEADER);
    memset(piece, 'z', PIECE);
    redis_link_reader_init(&reader);
    feed(&reader, header, HEADER);
    for (size_t left = total; left > 0;) {
        size_t n = left < PIECE ? left : PIECE;
        feed(&reader, piece, n);
        ck_assert_int_eq(redis_link_reader_next(&reader, &r, &err), 0);
        ck_assert_ptr_null(r);
        left -= n;
    }
    feed(&reader, "\r\n", 2);
    ck_assert_int_eq(redis_link_reader_next(&reader, &r, &err), 0);
    ck_assert_uint_eq(reply_bytes(r), total);
    reply_free(r);
    free(piece);
    redis_link_reader_done(&reader);
}
END_TEST

/* The limit on bytes counts all strings of a reply together, and begins anew with the next one. */
START_TEST(limits_are_per_reply)
{
    struct redis_link_reader reader;
    struct cb_error err = {0};
    reply_t *r = NULL;
    redis_link_reader_init(&reader);
    for (int i = 0; i < 40000; i++) {
        feed(&reader, "*32\r\n", 5);
        for (int j = 0; j < 32; j++)
            feed(&reader, ":1\r\n", 4);
        ck_assert_int_eq(redis_link_reader_next(&reader, &r, &err), 0);
        ck_assert_uint_eq(reply_count(r), 32);
        reply_free(r);
    }
    feed(&reader, "*2\r\n$60000000\r\n", 15);
    ck_assert_int_eq(redis_link_reader_next(&reader, &r, &err), 0);
    redis_link_reader_done(&reader);

    struct resp_check check;
    const char *reason;
    bool is_complete;
    resp_check_init(&check);
    ck_assert_int_eq(resp_check_scan(&check, "*3\r\n$3\r\nabc\r\n", 13, &is_complete, &reason), 13);
    ck_assert_int_eq(resp_check_scan(&check, "$67108860\r\n", 11, &is_complete, &reason), -1);
}
END_TEST

/* No string and no array is too long here, but all of them together are. */
START_TEST(many_lines_make_a_reply_too_big)
{
    enum { LINE = 60000 };
    struct resp_check check;
    const char *reason;
    bool is_complete;
    char *line = mem_alloc(LINE + 1);
    memset(line, 'x', LINE);
    line[0] = '+';
    memcpy(line + LINE - 2, "\r\n", 2);
    resp_check_init(&check);
    ck_assert_int_eq(resp_check_scan(&check, "*1000000\r\n", 10, &is_complete, &reason), 10);
    int lines = 0;
    while (resp_check_scan(&check, line, LINE, &is_complete, &reason) == LINE)
        lines++;
    ck_assert_int_eq(lines, RESP_MAX_REPLY_BYTES / LINE + 1);
    ck_assert_ptr_nonnull(strstr(reason, "64 MiB"));
    free(line);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, garbage_is_refused);
    tcase_add_test(tc, resp3_is_refused);
    tcase_add_test(tc, huge_lengths);
    tcase_add_test(tc, endless_bulk_and_lines);
    tcase_add_test(tc, deep_nesting);
    tcase_add_test(tc, flood_of_errors);
    tcase_add_test(tc, answer_before_the_question);
    tcase_add_test(tc, flood_while_writing);
    tcase_add_test(tc, reply_to_nothing);
    tcase_add_test(tc, half_replies);
    tcase_add_test(tc, whole_reply_then_closed);
    tcase_add_test(tc, bad_handshakes);
    tcase_add_test(tc, byte_by_byte_is_the_same);
    tcase_add_test(tc, largest_bulk_is_taken);
    tcase_add_test(tc, limits_are_per_reply);
    tcase_add_test(tc, many_lines_make_a_reply_too_big);
}

UNIT_MAIN("redis_hostile", add_tests)

/*
 * check_frame.c: common/frame: every type survives the way there and back; everything else is refused;
 * sockets that are empty, full, closed or hostile.
 */
#include "common/compat.h"
#include "common/frame.h"

#include "tests/unit/unit.h"

#include <fcntl.h>
#include <sys/socket.h>

static const struct frame samples[] = {
    {.type = FRAME_HELLO, .protocol = FRAME_PROTOCOL, .generation = UINT64_C(1795288088889)},
    {.type = FRAME_HELLO, .protocol = UINT32_MAX, .generation = UINT64_MAX},
    {.type = FRAME_READY, .redis_id = 1},
    {.type = FRAME_READY, .redis_id = INT64_MAX},
    {.type = FRAME_GO},
    {.type = FRAME_DRAIN},
    {.type = FRAME_BYE, .reason = BYE_DRAINED},
    {.type = FRAME_BYE, .reason = BYE_FAILED},
};

static void assert_same(const struct frame *a, const struct frame *b)
{
    ck_assert_int_eq(a->type, b->type);
    ck_assert_uint_eq(a->protocol, b->protocol);
    ck_assert_uint_eq(a->generation, b->generation);
    ck_assert_int_eq(a->redis_id, b->redis_id);
    ck_assert_uint_eq(a->reason, b->reason);
}

static void open_pair(int pair[2])
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
}

START_TEST(there_and_back)
{
    for (size_t i = 0; i < CB_ARRAY_LEN(samples); i++) {
        unsigned char packet[FRAME_MAX];
        struct frame got;
        size_t len = frame_encode(&samples[i], packet);
        ck_assert_uint_le(len, FRAME_MAX);
        ck_assert_int_eq(frame_decode(packet, len, &got, NULL), 0);
        assert_same(&got, &samples[i]);
    }
}
END_TEST

START_TEST(wrong_lengths_are_refused)
{
    for (size_t i = 0; i < CB_ARRAY_LEN(samples); i++) {
        unsigned char packet[FRAME_MAX + 1] = {0};
        struct frame got = {.generation = 77};
        struct cb_error err = {0};
        size_t right = frame_encode(&samples[i], packet);
        for (size_t len = 0; len <= FRAME_MAX; len++) {
            if (len == right)
                continue;
            ck_assert_int_eq(frame_decode(packet, len, &got, &err), -1);
            ck_assert_int_eq(err.code, EBADMSG);
        }
        ck_assert_uint_eq(got.generation, 77); /* out-parameters are untouched on failure */
    }
}
END_TEST

/* Every single changed byte of the header is noticed. */
START_TEST(headers_are_checked)
{
    unsigned char packet[FRAME_MAX];
    struct frame got;
    size_t len = frame_encode(&samples[0], packet);

    for (size_t at = 0; at < 4; at++) {
        unsigned char right = packet[at];
        for (int value = 0; value < 256; value++) {
            packet[at] = (unsigned char)value;
            ck_assert_int_eq(frame_decode(packet, len, &got, NULL), value == right ? 0 : -1);
        }
        packet[at] = right;
    }
}
END_TEST

START_TEST(senseless_values_are_refused)
{
    static const struct frame bad[] = {
        {.type = FRAME_READY, .redis_id = 0},
        {.type = FRAME_READY, .redis_id = -1},
        {.type = FRAME_BYE, .reason = 0},
        {.type = FRAME_BYE, .reason = BYE_FAILED + 1},
    };
    for (size_t i = 0; i < CB_ARRAY_LEN(bad); i++) {
        unsigned char packet[FRAME_MAX];
        struct frame got;
        size_t len = frame_encode(&bad[i], packet);
        ck_assert_int_eq(frame_decode(packet, len, &got, NULL), -1);
    }
}
END_TEST

START_TEST(over_a_socket)
{
    int pair[2];
    struct frame got;

    open_pair(pair);
    ck_assert_int_eq(frame_recv(pair[1], &got, NULL), 0); /* nothing there: does not wait */
    for (size_t i = 0; i < CB_ARRAY_LEN(samples); i++)
        ck_assert_int_eq(frame_send(pair[0], &samples[i]), 0);
    for (size_t i = 0; i < CB_ARRAY_LEN(samples); i++) {
        ck_assert_int_eq(frame_recv(pair[1], &got, NULL), 1);
        assert_same(&got, &samples[i]);
    }
    ck_assert_int_eq(frame_recv(pair[1], &got, NULL), 0);
    close(pair[0]);
    close(pair[1]);
}
END_TEST

START_TEST(end_of_file_is_not_a_bad_frame)
{
    int pair[2];
    struct frame got;
    struct cb_error err = {.code = 99};

    open_pair(pair);
    frame_send(pair[0], &samples[4]);
    close(pair[0]);
    ck_assert_int_eq(frame_recv(pair[1], &got, &err), 1); /* what was sent before is still there */
    ck_assert_int_eq(frame_recv(pair[1], &got, &err), -1);
    ck_assert_int_eq(err.code, 0);
    ck_assert_int_eq(frame_send(pair[1], &samples[4]), -1); /* and no SIGPIPE */
    ck_assert_int_eq(errno, EPIPE);
    close(pair[1]);
}
END_TEST

START_TEST(oversized_packets_are_refused_whole)
{
    int pair[2];
    unsigned char big[FRAME_MAX * 2];
    struct frame got;
    struct cb_error err = {0};

    memset(big, 0, sizeof big);
    frame_encode(&samples[4], big); /* begins like a good one */
    open_pair(pair);
    ck_assert_int_eq(send(pair[0], big, sizeof big, 0), (int)sizeof big);
    ck_assert_int_eq(frame_send(pair[0], &samples[5]), 0);
    ck_assert_int_eq(frame_recv(pair[1], &got, &err), -1);
    ck_assert_int_eq(err.code, EBADMSG);
    ck_assert_int_eq(frame_recv(pair[1], &got, &err), 1); /* the rest of it is gone */
    ck_assert_int_eq(got.type, FRAME_DRAIN);
    close(pair[0]);
    close(pair[1]);
}
END_TEST

/* A descriptor that is sent along must not stay open in us. */
START_TEST(descriptors_are_not_taken)
{
    int pair[2];
    unsigned char packet[FRAME_MAX];
    struct frame got;
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec iov = {.iov_base = packet, .iov_len = frame_encode(&samples[4], packet)};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

    open_pair(pair);
    int lowest = open("/dev/null", O_RDONLY | O_CLOEXEC);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &lowest, sizeof lowest);
    ck_assert_int_gt(sendmsg(pair[0], &msg, 0), 0);
    close(lowest);
    ck_assert_int_eq(frame_recv(pair[1], &got, NULL), 1);
    int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(next, lowest);
    close(next);
    close(pair[0]);
    close(pair[1]);
}
END_TEST

START_TEST(a_full_socket_does_not_block)
{
    int pair[2];
    int sent = 0;

    open_pair(pair);
    while (frame_send(pair[0], &samples[4]) == 0)
        ck_assert_int_lt(++sent, 1000000);
    ck_assert(errno == EAGAIN || errno == ENOBUFS);
    ck_assert_int_gt(sent, 4);
    close(pair[0]);
    close(pair[1]);
}
END_TEST

START_TEST(names)
{
    ck_assert_str_eq(frame_name(FRAME_HELLO), "hello");
    ck_assert_str_eq(frame_name(FRAME_BYE), "bye");
    ck_assert_str_eq(frame_name((enum frame_type)0), "unknown");
    ck_assert_str_eq(frame_name((enum frame_type)99), "unknown");
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, there_and_back);
    tcase_add_test(tc, wrong_lengths_are_refused);
    tcase_add_test(tc, headers_are_checked);
    tcase_add_test(tc, senseless_values_are_refused);
    tcase_add_test(tc, over_a_socket);
    tcase_add_test(tc, end_of_file_is_not_a_bad_frame);
    tcase_add_test(tc, oversized_packets_are_refused_whole);
    tcase_add_test(tc, descriptors_are_not_taken);
    tcase_add_test(tc, a_full_socket_does_not_block);
    tcase_add_test(tc, names);
}

UNIT_MAIN("frame", add_tests)

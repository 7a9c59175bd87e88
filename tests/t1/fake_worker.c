/*
 * fake_worker.c: a worker that only does what a test tells it to: it speaks the control protocol and
 * beats, and knows nothing of Redis. The file that FAKE_WORKER names holds one word a domain, as in
 * "task:crash system:fine", or one a slot, as in "task/1:crash"; it is read at each start.
 *
 *   fine        serves until DRAIN                  stubborn   beats on, deaf to DRAIN
 *   crash       exits 1 after GO                    mute       never says HELLO
 *   segv        dies of a signal after GO           unready    never says READY
 *   config      exits 78 at once                    garbage    sends nonsense after READY
 *   hung        stops beating after GO              twice      says READY twice
 *   quits       says BYE and exits 0 after GO       stranger   HELLO of another generation
 */
#include "common/compat.h"

#include "common/frame.h"
#include "common/scoreboard.h"

#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

static struct scoreboard_slot *slot;
static char mode[32] = "fine";
static uint64_t generation;

static void read_mode(const char *domain, int index)
{
    char place[64];
    char text[256] = "";
    const char *path = getenv("FAKE_WORKER");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    if (fd < 0)
        return;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    snprintf(place, sizeof place, "%s/%d", domain, index);
    char *rest = NULL;
    for (char *word = strtok_r(text, " \n", &rest); word; word = strtok_r(NULL, " \n", &rest)) {
        char *colon = strchr(word, ':');
        if (!colon)
            continue;
        *colon = '\0';
        if (strcmp(word, domain) == 0 || strcmp(word, place) == 0)
            snprintf(mode, sizeof mode, "%s", colon + 1);
    }
}

static bool is_mode(const char *name)
{
    return strcmp(mode, name) == 0;
}

static void say(enum frame_type type)
{
    struct frame f = {.type = type,
                      .protocol = FRAME_PROTOCOL,
                      .generation = generation + is_mode("stranger"),
                      .redis_id = 1,
                      .reason = BYE_DRAINED};
    frame_send(FRAME_FD, &f);
}

/* Beats for `ms` (-1: for ever) or until a frame of that type comes (0: of none). */
static void wait_for(enum frame_type type, int64_t ms)
{
    struct frame f;

    for (int64_t waited = 0; ms < 0 || waited < ms; waited += 20) {
        struct pollfd p = {.fd = FRAME_FD, .events = POLLIN};
        scoreboard_beat(slot);
        poll(&p, 1, 20);
        int got = frame_recv(FRAME_FD, &f, NULL);
        if (got > 0 && type && f.type == type)
            return;
        bool is_end = got < 0 || (got > 0 && f.type == FRAME_DRAIN);
        if (is_end && !is_mode("stubborn"))
            exit(0);
    }
}

static void stand_still(void)
{
    for (;;)
        pause();
}

static void act_after_go(void)
{
    if (is_mode("crash"))
        _exit(1);
    if (is_mode("segv"))
        raise(SIGSEGV);
    if (is_mode("hung"))
        stand_still();
    if (is_mode("quits")) {
        say(FRAME_BYE);
        _exit(0);
    }
    if (is_mode("garbage")) {
        send(FRAME_FD, "garbage", 7, 0);
        wait_for((enum frame_type)0, -1);
    }
    if (is_mode("twice")) {
        say(FRAME_READY);
        wait_for((enum frame_type)0, -1);
    }
}

int main(int argc, char **argv)
{
    struct scoreboard *board = NULL;
    const char *domain = "";
    int index = 0;
    int letter;

    while ((letter = getopt(argc, argv, "d:s:g:i:c")) != -1) {
        if (letter == 'd')
            domain = optarg;
        else if (letter == 's')
            index = (int)strtol(optarg, NULL, 10);
        else if (letter == 'g')
            generation = strtoull(optarg, NULL, 10);
    }
    read_mode(domain, index);
    if (is_mode("config"))
        return 78;
    if (scoreboard_attach(SCOREBOARD_FD, &board, NULL) < 0)
        return 70;
    slot = &board->slots[index];
    scoreboard_beat(slot);
    if (is_mode("mute"))
        stand_still();
    say(FRAME_HELLO);
    if (is_mode("unready"))
        wait_for((enum frame_type)0, -1);
    say(FRAME_READY);
    wait_for(FRAME_GO, -1);
    atomic_store(&slot->state, WORKER_IDLE);
    act_after_go();
    wait_for(is_mode("stubborn") ? (enum frame_type)0 : FRAME_DRAIN, -1);
    say(FRAME_BYE);
    return 0;
}

/*
 * terminal.c: see top.h. The terminal is given back by terminal_close() at every usual end, and by a handler when the program
 * crashes: that one only writes what was prepared, for ncurses is not safe there.
 */
#include "common/compat.h"
#include "client/top/top.h"

#include "common/exitcode.h"

#include <langinfo.h>
#include <locale.h>
#include <ncurses.h>
#include <poll.h>
#include <signal.h>
#include <termios.h>

static volatile sig_atomic_t ending; /* the signal */
static SCREEN *screen;
static bool is_utf8;

static struct {
    struct termios tty;
    char text[128]; /* leaves keypad and alternate screen, shows the cursor */
    size_t len;
} rescue;

static void on_end(int sig)
{
    ending = sig;
}

static void on_crash(int sig)
{
    ssize_t ignored = write(STDOUT_FILENO, rescue.text, rescue.len);

    (void)ignored;
    tcsetattr(STDIN_FILENO, TCSANOW, &rescue.tty);
    raise(sig); /* its action is the default again */
}

static void catch_signals(void)
{
    static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    static const int crashes[] = {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL};
    struct sigaction sa = {.sa_handler = on_end};

    sigemptyset(&sa.sa_mask);
    for (size_t i = 0; i < CB_ARRAY_LEN(ends); i++)
        sigaction(ends[i], &sa, NULL);
    sa.sa_handler = on_crash;
    sa.sa_flags = SA_RESETHAND | SA_NODEFER;
    for (size_t i = 0; i < CB_ARRAY_LEN(crashes); i++)
        sigaction(crashes[i], &sa, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static const char *capability(const char *name)
{
    const char *text = tigetstr(name);

    return text && text != (const char *)-1 ? text : "";
}

static void prepare_rescue(void)
{
    int n = snprintf(rescue.text, sizeof rescue.text, "%s%s%s%s", capability("sgr0"),
                     capability("rmkx"), capability("cnorm"), capability("rmcup"));

    rescue.len = n > 0 && (size_t)n < sizeof rescue.text ? (size_t)n : 0;
}

static void choose_colors(void)
{
    struct term term = term_detect(STDOUT_FILENO);

    if (!term.has_color || !has_colors() || start_color() == ERR)
        return;
    use_default_colors();
    init_pair(COLOR_GOOD, COLOR_GREEN, -1);
    init_pair(COLOR_DOUBT, COLOR_YELLOW, -1);
    init_pair(COLOR_BAD, COLOR_RED, -1);
}

int terminal_attr(enum color color)
{
    struct term term = term_detect(STDOUT_FILENO);

    return color != COLOR_PLAIN && term.has_color && has_colors()
               ? (int)(COLOR_PAIR(color) | A_BOLD)
               : (int)A_NORMAL;
}

static int refuse(const char *why)
{
    cli_say("top: %s; see claudebench status", why);
    return EXITCODE_USAGE;
}

int terminal_open(void)
{
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) ||
        tcgetattr(STDIN_FILENO, &rescue.tty) != 0)
        return refuse("needs a terminal");
    setlocale(LC_CTYPE, "");
    is_utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    screen = newterm(NULL, stdout, stdin);
    if (!screen)
        return refuse("this kind of terminal (TERM) is not known");
    if (!capability("cup")[0]) {
        terminal_close();
        return refuse("this terminal cannot be written on at any place (TERM)");
    }
    catch_signals();
    prepare_rescue();
    choose_colors();
    cbreak();
    noecho();
    nonl();
    keypad(stdscr, TRUE);
    nodelay(stdscr, TRUE);
    set_escdelay(25);
    curs_set(0);
    return -1;
}

void terminal_close(void)
{
    if (!screen)
        return;
    endwin();
    delscreen(screen);
    screen = NULL;
}

int terminal_signal(void)
{
    return (int)ending;
}

bool terminal_is_utf8(void)
{
    return is_utf8;
}

bool terminal_wait(int timeout_ms, int fd, bool *ret_is_gone)
{
    struct pollfd in[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
    int n = poll(in, CB_ARRAY_LEN(in), timeout_ms);

    *ret_is_gone = n > 0 && (in[0].revents & (POLLHUP | POLLERR | POLLNVAL));
    /* Interrupted: of another size, and ncurses has a key for it. */
    return n < 0 ? errno == EINTR : in[0].revents != 0;
}

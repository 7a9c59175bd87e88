/*
 * args.c: see args.h.
 */
#include "common/compat.h"
#include "supervisor/args.h"

#include "common/exitcode.h"
#include "common/nearest.h"

#include <getopt.h>

struct flag {
    char letter;
    const char *name;
    const char *value; /* NULL: takes none */
    const char *text;
};

static const struct flag flags[] = {
    {'d', "daemon", NULL, "Go into the background; return when ready."},
    {'F', "foreground", NULL, "Stay in the foreground (the default)."},
    {'c', "config", "FILE", "Read this configuration file."},
    {'t', "test", NULL, "Check the configuration, say what is wrong, and exit."},
    {'T', "dump", NULL, "Print the effective configuration and exit."},
    {'p', "pidfile", "FILE", "Use this pid file."},
    {'v', "verbose", NULL, "Log at level debug."},
    {'V', "version", NULL, "Print the version and exit."},
    {'h', "help", NULL, "Print this text and exit."},
};

static void print_help(FILE *out)
{
    fprintf(out, "Usage: claudebenchd [-dFtTvVh] [-c FILE] [-p FILE]\n\n"
                 "Starts, watches and replaces the workers that serve ClaudeBench's requests.\n\n");
    for (size_t i = 0; i < CB_ARRAY_LEN(flags); i++) {
        char left[40];
        snprintf(left, sizeof left, "-%c, --%s%s%s", flags[i].letter, flags[i].name,
                 flags[i].value ? " " : "", flags[i].value ? flags[i].value : "");
        fprintf(out, "  %-22s %s\n", left, flags[i].text);
    }
    fprintf(out, "\nSee claudebenchd(8) and claudebench.yaml(5).\n");
}

static void build_getopt(char *letters, struct option *longs)
{
    size_t n = 0;

    letters[n++] = '+';
    letters[n++] = ':'; /* a value that is missing is told from an unknown option */
    for (size_t i = 0; i < CB_ARRAY_LEN(flags); i++) {
        letters[n++] = flags[i].letter;
        if (flags[i].value)
            letters[n++] = ':';
        longs[i] = (struct option){.name = flags[i].name,
                                   .has_arg = flags[i].value ? required_argument : no_argument,
                                   .val = flags[i].letter};
    }
    letters[n] = '\0';
}

static const char *flag_name(size_t i, const void *arg)
{
    (void)arg;
    return i < CB_ARRAY_LEN(flags) ? flags[i].name : NULL;
}

/* What getopt_long() did not take, in our words: its own begin with the path by which we were started. `optopt` is 0 for a long
 * option that it does not know, and the letter of one that it knows when that has a value too many. */
static int wrong_use(int result, const char *word)
{
    const struct flag *f = flags;
    const char *near = optopt ? NULL : nearest_name(word + strspn(word, "-"), flag_name, NULL);

    while (f < flags + CB_ARRAY_LEN(flags) && f->letter != optopt)
        f++;
    bool is_known = f < flags + CB_ARRAY_LEN(flags);
    if (is_known && result == ':')
        fprintf(stderr, "claudebenchd: option -%c needs a value (%s)\n", f->letter, f->value);
    else if (is_known)
        fprintf(stderr, "claudebenchd: option --%s takes no value\n", f->name);
    else if (optopt)
        fprintf(stderr, "claudebenchd: unknown option -%c\n", optopt);
    else
        fprintf(stderr, "claudebenchd: unknown option %s%s%s%s\n", word,
                near ? "; did you mean --" : "", near ? near : "", near ? "?" : "");
    fprintf(stderr, "Try 'claudebenchd --help'.\n");
    return EXITCODE_USAGE;
}

/* -1: go on. */
static int take_flag(int letter, const char *word, struct args *a)
{
    switch (letter) {
    case 'd':
        a->is_daemon = true;
        return -1;
    case 'F':
        a->is_daemon = false;
        return -1;
    case 'c':
        a->config = optarg;
        return -1;
    case 'p':
        a->pidfile = optarg;
        return -1;
    case 't':
        a->mode = ARGS_TEST;
        return -1;
    case 'T':
        a->mode = ARGS_DUMP;
        return -1;
    case 'v':
        a->is_verbose = true;
        return -1;
    case 'V':
        printf("claudebenchd %s\n", PACKAGE_VERSION);
        return EXITCODE_OK;
    case 'h':
        print_help(stdout);
        return EXITCODE_OK;
    default:
        return wrong_use(letter, word);
    }
}

int args_parse(int argc, char **argv, struct args *ret)
{
    char letters[2 * CB_ARRAY_LEN(flags) + 3];
    struct option longs[CB_ARRAY_LEN(flags) + 1] = {0};
    int letter;

    build_getopt(letters, longs);
    *ret = (struct args){0};
    opterr = 0;
    while ((letter = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
        int code = take_flag(letter, argv[optind - 1], ret);
        if (code >= 0)
            return code;
    }
    if (optind == argc)
        return -1;
    fprintf(stderr,
            "claudebenchd: what is '%s'? There are no operands.\nTry 'claudebenchd --help'.\n",
            argv[optind]);
    return EXITCODE_USAGE;
}

/*
 * check_cli.c: the parser of the client's command line.
 */
#include "common/compat.h"
#include "unit.h"

#include "client/cli.h"
#include "common/exitcode.h"

static const struct cli_option options[] = {
    {'p', "priority", "N", "A number."},
    {'r', "role", "ROLE", "Repeatable."},
    {'j', "json", NULL, "A switch."},
    {0, "strict", NULL, "Another."},
    {0, NULL, NULL, NULL},
};

static const struct cli_verb verb = {.name = "try",
                                     .operands = "WHAT",
                                     .min_operands = 1,
                                     .max_operands = 2,
                                     .summary = "Tries.",
                                     .options = options};
static const struct cli_verb runner = {.name = "run",
                                       .operands = "-- COMMAND",
                                       .min_operands = 1,
                                       .max_operands = -1,
                                       .is_command = true,
                                       .summary = "Runs.",
                                       .options = options};

const struct cli_verb *const cli_verbs[] = {&verb, &runner, NULL};

static int parse(struct cli *cli, const struct cli_verb *v, const char *const *words)
{
    static char *argv[16];
    int argc = 0;
    for (; words[argc]; argc++)
        argv[argc] = (char *)(uintptr_t)words[argc];
    /* What it says goes to stderr, which is not looked at here. */
    return cli_parse(cli, v, argc, argv);
}

#define PARSE(cli, v, ...) parse(cli, v, (const char *const[]){__VA_ARGS__, NULL})

START_TEST(values_in_every_form)
{
    struct cli cli;
    int64_t n;
    ck_assert_int_eq(PARSE(&cli, &verb, "-p", "3", "text", "--json"), -1);
    ck_assert_str_eq(cli.operands[0], "text");
    ck_assert(cli_is_set(&cli, "json"));
    ck_assert(!cli_is_set(&cli, "strict"));
    ck_assert_int_eq(cli_int(&cli, "priority", 0, 9, 5, &n), 0);
    ck_assert_int_eq(n, 3);
    cli_done(&cli);
    ck_assert_int_eq(PARSE(&cli, &verb, "-jp4", "a"), -1);
    ck_assert_str_eq(cli_value(&cli, "priority", ""), "4");
    cli_done(&cli);
    ck_assert_int_eq(PARSE(&cli, &verb, "--prio=-5", "--str", "a", "b"), -1);
    ck_assert_str_eq(cli_value(&cli, "priority", ""), "-5");
    ck_assert_int_eq(cli.noperands, 2);
    cli_done(&cli);
    ck_assert_int_eq(PARSE(&cli, &verb, "--priority", "1", "--priority", "2", "--", "-x"), -1);
    ck_assert_str_eq(cli_value(&cli, "priority", ""), "2");
    ck_assert_str_eq(cli.operands[0], "-x");
    cli_done(&cli);
}
END_TEST

START_TEST(wrong_use)
{
    struct cli cli;
    int64_t n;
    static const char *const cases[][4] = {
        {NULL},
        {"a", "b", "c", NULL},
        {"a", "--priorty", "1", NULL},
        {"a", "-x", NULL},
        {"a", "--priority", NULL},
        {"a", "-p", NULL},
        {"a", "--json=1", NULL},
    };
    for (size_t i = 0; i < CB_ARRAY_LEN(cases); i++) {
        ck_assert_int_eq(parse(&cli, &verb, cases[i]), EXITCODE_USAGE);
        cli_done(&cli);
    }
    static const char *const numbers[] = {"x", "", "1x", "-1", "10", "99999999999999999999"};
    for (size_t i = 0; i < CB_ARRAY_LEN(numbers); i++) {
        ck_assert_int_eq(PARSE(&cli, &verb, "a", "-p", numbers[i]), -1);
        ck_assert_int_eq(cli_int(&cli, "priority", 0, 9, 5, &n), -1);
        cli_done(&cli);
    }
}
END_TEST

START_TEST(a_command_keeps_its_own_options)
{
    struct cli cli;
    ck_assert_int_eq(PARSE(&cli, &runner, "-j", "wc", "-l", "--json"), -1);
    ck_assert_int_eq(cli.noperands, 3);
    ck_assert_str_eq(cli.operands[1], "-l");
    cli_done(&cli);
    ck_assert_int_eq(PARSE(&cli, &runner, "--", "-odd", "--"), -1);
    ck_assert_int_eq(cli.noperands, 2);
    ck_assert_str_eq(cli.operands[0], "-odd");
    ck_assert_ptr_null(cli.operands[2]);
    cli_done(&cli);
}
END_TEST

START_TEST(lists)
{
    struct cli cli;
    struct buf out = BUF_INIT;
    ck_assert_int_eq(PARSE(&cli, &verb, "a", "-r", "x,y", "--role", "z\"", "--role=,"), -1);
    cli_put_list(&cli, "role", &out);
    ck_assert_str_eq(buf_peek(&out), "[\"x\",\"y\",\"z\\\"\"]");
    buf_done(&out);
    cli_done(&cli);
}
END_TEST

START_TEST(help_names_everything)
{
    struct buf out = BUF_INIT;
    cli_put_help(&verb, &out);
    for (size_t i = 0; options[i].name; i++)
        ck_assert_ptr_nonnull(strstr(buf_peek(&out), options[i].name));
    ck_assert_ptr_nonnull(strstr(buf_peek(&out), "Usage: claudebench try [OPTION]... WHAT\n"));
    ck_assert_ptr_nonnull(strstr(buf_peek(&out), "--config=FILE"));
    ck_assert_ptr_null(strstr(buf_peek(&out), " \n"));
    buf_reset(&out);
    cli_put_usage(&out, NULL);
    ck_assert_ptr_nonnull(strstr(buf_peek(&out), "  try WHAT"));
    buf_done(&out);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, values_in_every_form);
    tcase_add_test(tc, wrong_use);
    tcase_add_test(tc, a_command_keeps_its_own_options);
    tcase_add_test(tc, lists);
    tcase_add_test(tc, help_names_everything);
}

UNIT_MAIN("cli", add_tests)

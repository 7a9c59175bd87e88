/*
 * check_rules_load.c: common/rules: rule files: what is refused, where it says it is, folders, versions.
 */
#include "common/compat.h"
#include "common/rules/rules.h"

#include "common/mem.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <sys/stat.h>

#define GROUP "groups:\n- name: g\n  rules:\n"
#define RULE  "  - name: r\n    action: deny\n    message: m\n    match: {command: rm}\n"

static struct rules *rules;
static struct options_errors errs = OPTIONS_ERRORS_INIT;
static struct buf text = BUF_INIT;
static char dir[64];

static void forget(void)
{
    rules_free(rules);
    rules = NULL;
    options_errors_done(&errs);
    buf_reset(&text);
}

static void teardown(void)
{
    forget();
    buf_done(&text);
}

static int load_as(const char *yaml, bool is_project)
{
    struct rules_text file = {
        .name = "x.yaml", .text = yaml, .len = strlen(yaml), .is_project = is_project};
    struct rules_load_options options = {.want_examples = true};
    forget();
    int status = rules_load_texts(&file, 1, &options, &rules, &errs);
    options_errors_put(&errs, &text);
    return status;
}

static void accepted(const char *yaml)
{
    int status = load_as(yaml, false);
    ck_assert_msg(status == 0, "%s\n%s", yaml, buf_peek(&text));
}

/* Refused with exactly these errors. */
static void refused(const char *yaml, const char *expected)
{
    int status = load_as(yaml, false);
    ck_assert_msg(status == -1, "accepted: %s", yaml);
    ck_assert_msg(strcmp(buf_peek(&text), expected) == 0, "%s\n  got      %s  expected %s", yaml,
                  buf_peek(&text), expected);
}

START_TEST(what_is_accepted)
{
    accepted("groups: []\n");
    accepted(GROUP RULE);
    ck_assert_uint_eq(rules_count(rules), 1);
    accepted("lists: {a: [/etc, /usr], b: [\"@a\", /x]}\n" GROUP
             "  - {name: r, action: deny, message: m, match: {writes: \"@b\"}}\n");
    accepted(
        GROUP
        "  - name: all-keys\n    description: d\n    priority: 5\n    severity: critical\n    "
        "action: deny\n"
        "    tools: ['@shell', 'mcp__*']\n    events: [pre_tool, post_tool]\n    message: m\n    "
        "match:\n"
        "      command: [a, b]\n      subcommand: c\n      flags: [r, f|force]\n      args: '*x*'\n"
        "      path: /**\n      redirect: /dev/**\n      via: sudo\n      fed_by: curl\n      env: "
        "A=*\n"
        "      line: '^a'\n      runs_input: true\n      or_unknown: true\n      writes: ~/x\n"
        "      reads: '**/x'\n      file: /x\n      field: [/a/b, 'a.*.c', d]\n      pattern: "
        "['a', 'b']\n"
        "      all: [{command: a}, {command: b}]\n      any: {pattern: x}\n      not: "
        "{runs_itself: true}\n");
}
END_TEST

START_TEST(every_mistake_has_a_place)
{
    refused("", "x.yaml: the file is empty (expected groups or disable)\n");
    refused(" \n\n", "x.yaml: the file is empty (expected groups or disable)\n");
    refused("groups: x\n", "x.yaml:1:9: expected a list of groups\n");
    refused("group: []\n", "x.yaml:1:1: unknown key \"group\" (did you mean groups?)\n");
    refused("- x\n", "x.yaml:1:1: expected a mapping\n");
    refused("groups:\n- name: g\n", "x.yaml:2:3: g: expected a list of rules\n");
    refused("groups:\n- rules: []\n",
            "x.yaml:2:3: a group without a name\nx.yaml:2:10: expected a list of rules\n");
    refused(GROUP "  - name: R!\n    action: deny\n    message: m\n    match: {command: rm}\n",
            "x.yaml:4:11: g: expected a name of a-z, 0-9 and -\n");
    refused(GROUP "  - {name: r, message: m, match: {command: rm}}\n",
            "x.yaml:4:5: g/r: a rule without an action\n");
    refused(GROUP "  - {name: r, action: denny, message: m, match: {command: rm}}\n",
            "x.yaml:4:23: g/r: \"denny\" (expected one of warn, allow, modify, ask, deny)\n"
            "x.yaml:4:5: g/r: a rule without an action\n");
    refused(GROUP "  - {name: r, action: deny, match: {command: rm}}\n",
            "x.yaml:4:5: g/r: a rule without a message\n");
    refused(GROUP "  - {name: r, action: deny, message: m}\n",
            "x.yaml:4:5: g/r: a rule without match\n");
    refused(GROUP "  - {name: r, action: deny, message: m, match: {}}\n",
            "x.yaml:4:48: g/r: an empty match needs tools, else it is every call\n");
    refused(GROUP "  - {name: r, action: deny, message: m, match: {comand: rm}}\n",
            "x.yaml:4:49: g/r: unknown key \"comand\" (did you mean command?)\n");
    refused(GROUP "  - {name: r, action: deny, message: m, match: {pattern: '(a'}}\n",
            "x.yaml:4:58: g/r: not a pattern: missing closing parenthesis (at its character 3)\n");
    refused(
        GROUP "  - {name: r, action: deny, message: m, match: {path: etc/x}}\n",
        "x.yaml:4:55: g/r: etc/x never matches: expected a path that begins with /, ~/ or **\n");
    refused(GROUP "  - {name: r, action: deny, message: m, match: {writes: /etc/}}\n",
            "x.yaml:4:57: g/r: /etc/ never matches: expected no / at the end\n");
    refused(GROUP "  - {name: r, action: deny, message: m, match: {path: \"@none\"}}\n",
            "x.yaml:4:55: g/r: there is no list none in this file\n");
    refused(GROUP "  - {name: r, action: deny, message: m, match: {field: a, command: rm}}\n",
            "x.yaml:4:48: g/r: field without pattern\n");
    refused(GROUP "  - {name: r, action: deny, message: m, match: {runs_input: false}}\n",
            "x.yaml:4:61: g/r: expected true (or use not)\n");
    refused(GROUP
            "  - {name: r, action: deny, message: m, tools: ['@none'], match: {command: rm}}\n",
            "x.yaml:4:48: g/r: unknown class of tools @none (expected @shell, @edit or @read)\n");
    refused(GROUP
            "  - {name: r, action: deny, message: m, events: [pre_tol], match: {command: rm}}\n",
            "x.yaml:4:50: g/r: \"pre_tol\" (expected one of pre_tool, post_tool, user_prompt)\n");
    refused(GROUP "  - {name: r, action: deny, message: m, priority: 5000, match: {command: rm}}\n",
            "x.yaml:4:51: g/r: expected a number from -1000 to 1000\n");
    refused(GROUP RULE RULE, "x.yaml:8:5: g/r: there is a rule of this name (x.yaml, line 4)\n");
    refused(GROUP RULE "    replacement: x\n",
            "x.yaml:8:18: g/r: a replacement is for modify only\n"
            "x.yaml:8:18: g/r: a text as replacement needs a match with one pattern\n");
    refused("disable: [g/none]\n" GROUP RULE, "x.yaml:1:10: no rule or group g/none to disable\n");
    refused(
        "groups: [\n",
        "x.yaml:2:1: not YAML: while parsing a flow node, did not find expected node content\n");
    refused("a: &x 1\n", "x.yaml:1:4: anchors (&name) are not accepted\n"
                         "x.yaml:1:1: unknown key \"a\" (expected lists, groups or disable)\n");
}
END_TEST

START_TEST(modify_rules)
{
    accepted(GROUP
             "  - {name: r, action: modify, message: m, match: {pattern: a}, replacement: b}\n");
    accepted(GROUP "  - {name: r, action: modify, message: m, match: {pattern: (a)(b)}, "
                   "replacement: '$2$1$$${1}'}\n");
    accepted(GROUP "  - {name: r, action: modify, message: m, match: {command: a}, replacement: "
                   "{unwrap: true}}\n");
    accepted(GROUP "  - {name: r, action: modify, message: m, match: {command: a}, replacement: "
                   "{set: {timeout: 5}}}\n");
    accepted(GROUP "  - {name: r, action: modify, message: m, match: {command: a}, replacement: "
                   "{pattern: a, with: '', field: command}}\n");
    refused(GROUP "  - {name: r, action: modify, message: m, match: {pattern: a}}\n",
            "x.yaml:4:23: g/r: modify without a replacement\n");
    refused(GROUP
            "  - {name: r, action: modify, message: m, match: {pattern: (a)}, replacement: $2}\n",
            "x.yaml:4:79: g/r: expected $0 to $1, or $$ for a dollar sign\n");
    refused(GROUP "  - {name: r, action: modify, message: m, match: {pattern: a}, replacement: "
                  "{unwrap: true}}\n",
            "x.yaml:4:86: g/r: unwrap needs a match with command\n");
    refused(GROUP "  - {name: r, action: modify, events: [user_prompt], message: m, match: "
                  "{pattern: a}, replacement: b}\n",
            "x.yaml:4:23: g/r: modify is for the event pre_tool only\n");
}
END_TEST

START_TEST(project_files_only_tighten)
{
    ck_assert_int_eq(load_as(GROUP RULE, true), 0);
    ck_assert_int_eq(
        load_as(GROUP "  - {name: r, action: allow, message: m, match: {command: rm}}\n", true),
        -1);
    ck_assert_str_eq(
        buf_peek(&text),
        "x.yaml:4:23: g/r: allow is not for a project's rules: they can only deny, ask and warn\n");
    ck_assert_int_eq(load_as("groups:\n- {name: g, action: allow, rules: [{name: r, message: m, "
                             "match: {command: rm}}]}\n",
                             true),
                     -1);
    ck_assert_str_eq(
        buf_peek(&text),
        "x.yaml:2:36: g/r: allow is not for a project's rules: they can only deny, ask and warn\n");
    ck_assert_int_eq(
        load_as(GROUP
                "  - {name: r, action: modify, message: m, match: {pattern: a}, replacement: b}\n",
                true),
        -1);
    ck_assert_int_eq(load_as("disable: [g]\n" GROUP RULE, true), -1);
    ck_assert_str_eq(
        buf_peek(&text),
        "x.yaml:1:10: disable is not for a project's rules: they can only deny, ask and warn\n");
}
END_TEST

/* Neither by a rule of the same name, nor by switching one off. */
START_TEST(projects_cannot_replace_system_rules)
{
    struct rules_text files[] = {{"system.yaml", GROUP RULE, strlen(GROUP RULE), false},
                                 {"project.yaml", GROUP RULE, strlen(GROUP RULE), true}};
    struct rules_load_options options = {0};
    forget();
    ck_assert_int_eq(rules_load_texts(files, 2, &options, &rules, &errs), -1);
    options_errors_put(&errs, &text);
    ck_assert_str_eq(buf_peek(&text),
                     "project.yaml:4:5: g/r: there is a rule of this name (system.yaml, line 4)\n");
}
END_TEST

/* ---- folders ---- */

static void make_dir(void)
{
    snprintf(dir, sizeof dir, "/tmp/check-rules-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void remove_dir(void)
{
    char *command = mem_printf("exec rm -r '%s'", dir);
    ck_assert_int_eq(system(command), 0); /* NOLINT(cert-env33-c): our own folder */
    free(command);
}

static void write_file(const char *name, const char *content)
{
    char *path = mem_printf("%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs(content, file);
    fclose(file);
    free(path);
}

static int load_dir(void)
{
    struct rules_load_options options = {.dir = dir};
    forget();
    int status = rules_load(&options, &rules, &errs);
    options_errors_put(&errs, &text);
    return status;
}

START_TEST(folders)
{
    make_dir();
    ck_assert_int_eq(load_dir(), -1);
    ck_assert_ptr_nonnull(strstr(buf_peek(&text), "there is no rule in this folder"));
    write_file("b.yaml", "groups:\n- name: b\n  rules:\n" RULE);
    write_file("a.yaml", "groups:\n- name: a\n  rules:\n" RULE);
    write_file("ignored.txt", "not yaml: [");
    write_file(".hidden.yaml", "not yaml: [");
    ck_assert_int_eq(load_dir(), 0);
    struct rules_info info;
    ck_assert(rules_get(rules, 0, &info));
    ck_assert_str_eq(info.id, "a/r");
    ck_assert(rules_get(rules, 1, &info));
    ck_assert_str_eq(info.id, "b/r");
    ck_assert(!rules_get(rules, 2, &info));
    remove_dir();
    ck_assert_int_eq(load_dir(), -1);
    ck_assert_ptr_nonnull(strstr(buf_peek(&text), "cannot be read: No such file"));
}
END_TEST

START_TEST(files_that_everybody_may_write)
{
    make_dir();
    write_file("a.yaml", GROUP RULE);
    char *path = mem_printf("%s/a.yaml", dir);
    ck_assert_int_eq(chmod(path, 0666), 0);
    ck_assert_int_eq(load_dir(), -1);
    ck_assert_ptr_nonnull(strstr(buf_peek(&text), "a.yaml: everybody may write to it"));
    ck_assert_int_eq(chmod(path, 0644), 0);
    ck_assert_int_eq(chmod(dir, 0777), 0);
    ck_assert_int_eq(load_dir(), -1);
    free(path);
    remove_dir();
}
END_TEST

START_TEST(missing_project_file)
{
    const char *files[] = {"/nonexistent/rules.yaml"};
    struct rules_load_options options = {.project_files = files, .nproject_files = 1};
    forget();
    ck_assert_int_eq(rules_load(&options, &rules, &errs), -1);
}
END_TEST

START_TEST(changes_are_seen)
{
    make_dir();
    write_file("a.yaml", GROUP RULE);
    ck_assert_int_eq(load_dir(), 0);
    ck_assert(!rules_have_changed(rules));
    write_file("a.yaml", GROUP RULE "# changed\n");
    ck_assert(rules_have_changed(rules));
    char *version = mem_strdup(rules_version(rules));
    ck_assert_int_eq(load_dir(), 0);
    ck_assert(!rules_have_changed(rules));
    ck_assert_str_ne(version, rules_version(rules));
    write_file("b.yaml", "groups: []\n");
    ck_assert(rules_have_changed(rules));
    free(version);
    remove_dir();
}
END_TEST

START_TEST(versions)
{
    char version[RULES_KEY_SIZE];
    ck_assert_int_eq(load_as(GROUP RULE, false), 0);
    ck_assert_uint_eq(strlen(rules_version(rules)), 64);
    snprintf(version, sizeof version, "%s", rules_version(rules));
    ck_assert_int_eq(load_as(GROUP RULE, false), 0);
    ck_assert_str_eq(version, rules_version(rules));
    ck_assert_int_eq(load_as(GROUP RULE, true), 0);
    ck_assert_str_ne(version, rules_version(rules));
    ck_assert_int_eq(load_as(GROUP RULE "\n", false), 0);
    ck_assert_str_ne(version, rules_version(rules));
}
END_TEST

/* ---- the manual ---- */

/* A line of mdoc as it is shown. */
static void put_shown(struct buf *out, const char *line, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (line[i] == '\\' && i + 1 < len) {
            i++;
            if (line[i] == 'e')
                buf_putc(out, '\\');
            else if (line[i] != '&')
                buf_putc(out, line[i]);
        } else {
            buf_putc(out, line[i]);
        }
    }
    buf_putc(out, '\n');
}

static void put_failure(void *arg, const char *file, int line, const char *rule, const char *why)
{
    buf_printf(arg, "%s:%d: %s: %s\n", file, line, rule, why);
}

/* Every rule file that claudebench-rules(5) shows can be loaded, and its examples do as they say. */
START_TEST(rule_files_in_the_manual)
{
    char *path = mem_printf("%s/man/claudebench-rules.5",
                            getenv("TOP_SRCDIR") ? getenv("TOP_SRCDIR") : ".");
    FILE *file = fopen(path, "r");
    ck_assert_msg(file != NULL, "%s: %s", path, strerror(errno));
    struct buf block = BUF_INIT;
    char *line = NULL;
    size_t size = 0, count = 0;
    bool is_in_block = false;

    for (ssize_t len; (len = getline(&line, &size, file)) > 0;) {
        if (strncmp(line, ".Bd -literal", 12) == 0) {
            is_in_block = true;
            buf_reset(&block);
        } else if (is_in_block && strncmp(line, ".Ed", 3) == 0) {
            is_in_block = false;
            if (strncmp(buf_peek(&block), "groups:", 7) != 0)
                continue;
            count++;
            accepted(buf_peek(&block));
            size_t failed = rules_test(rules, put_failure, &text, NULL);
            ck_assert_msg(failed == 0, "%s", buf_peek(&text));
        } else if (is_in_block) {
            put_shown(&block, line, (size_t)len - 1);
        }
    }
    ck_assert_uint_ge(count, 2);
    buf_done(&block);
    free(line);
    fclose(file);
    free(path);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_unchecked_fixture(tc, NULL, teardown);
    tcase_add_test(tc, what_is_accepted);
    tcase_add_test(tc, every_mistake_has_a_place);
    tcase_add_test(tc, modify_rules);
    tcase_add_test(tc, project_files_only_tighten);
    tcase_add_test(tc, projects_cannot_replace_system_rules);
    tcase_add_test(tc, folders);
    tcase_add_test(tc, files_that_everybody_may_write);
    tcase_add_test(tc, missing_project_file);
    tcase_add_test(tc, changes_are_seen);
    tcase_add_test(tc, versions);
    tcase_add_test(tc, rule_files_in_the_manual);
}

UNIT_MAIN("rules_load", add_tests)

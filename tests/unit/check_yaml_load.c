/*
 * check_yaml_load.c: common/yaml_load: shapes, places, and all that is refused.
 */
#include "common/compat.h"
#include "common/yaml_load.h"

#include "common/buf.h"
#include "tests/unit/unit.h"

/* What was reported, as "line:col: text" lines. */
static struct buf problems = BUF_INIT;
static struct arena arena = ARENA_INIT;

static void report(void *arg, int line, int col, const char *text)
{
    ck_assert_ptr_null(arg);
    buf_printf(&problems, "%d:%d: %s\n", line, col, text);
}

static struct yaml_node *load_bytes(const char *text, size_t len, int expected_status)
{
    struct yaml_node *root = NULL;
    buf_reset(&problems);
    int status = yaml_load(text, len, &arena, &root, report, NULL);
    ck_assert_msg(status == expected_status, "%s: %s", text, buf_peek(&problems));
    ck_assert((status != 0) == (problems.len > 0));
    return root;
}

static struct yaml_node *load(const char *text)
{
    return load_bytes(text, strlen(text), 0);
}

/* The text is refused, and the report begins with `expected`. */
static void refused(const char *text, const char *expected)
{
    load_bytes(text, strlen(text), -1);
    ck_assert_msg(strncmp(buf_peek(&problems), expected, strlen(expected)) == 0,
                  "%s\n  got      %s  expected %s", text, buf_peek(&problems), expected);
}

static void teardown(void)
{
    buf_done(&problems);
    arena_done(&arena);
}

static const struct yaml_node *member(const struct yaml_node *map, const char *key)
{
    for (const struct yaml_node *n = map->child; n; n = n->next) {
        if (strcmp(n->key, key) == 0)
            return n;
    }
    ck_abort_msg("no member %s", key);
    return NULL;
}

START_TEST(shapes_and_places)
{
    const struct yaml_node *root = load("# comment\na: 1\nb:\n  c: \"two\"\n  d: [x, 'y']\n");
    ck_assert_int_eq(root->type, YAML_IS_MAP);

    const struct yaml_node *a = member(root, "a");
    ck_assert_int_eq(a->type, YAML_IS_SCALAR);
    ck_assert_str_eq(a->text, "1");
    ck_assert(a->is_plain);
    ck_assert_int_eq(a->line, 2);
    ck_assert_int_eq(a->col, 4);
    ck_assert_int_eq(a->key_line, 2);
    ck_assert_int_eq(a->key_col, 1);

    const struct yaml_node *b = member(root, "b");
    const struct yaml_node *c = member(b, "c");
    ck_assert_str_eq(c->text, "two");
    ck_assert(!c->is_plain);
    ck_assert_int_eq(c->key_line, 4);
    ck_assert_int_eq(c->key_col, 3);

    const struct yaml_node *d = member(b, "d");
    ck_assert_int_eq(d->type, YAML_IS_LIST);
    ck_assert_str_eq(d->child->text, "x");
    ck_assert_ptr_null(d->child->key);
    ck_assert_str_eq(d->child->next->text, "y");
    ck_assert_ptr_null(d->child->next->next);
}
END_TEST

START_TEST(nothing_is_nothing)
{
    ck_assert_ptr_null(load(""));
    ck_assert_ptr_null(load("# only a comment\n\n"));
    ck_assert(yaml_is_null(load("---\n")));
    ck_assert(yaml_is_null(load("~")));
    ck_assert(yaml_is_null(member(load("a:\nb: 1\n"), "a")));
    ck_assert(yaml_is_null(member(load("a: null\n"), "a")));
    ck_assert(!yaml_is_null(member(load("a: ''\n"), "a")));
    ck_assert(!yaml_is_null(member(load("a: []\n"), "a")));
}
END_TEST

START_TEST(columns_count_characters)
{
    refused("\xc3\xa4\xc3\xa4: &x 1\n", "1:5: anchors");
    refused("\xc3\xa4: \xff\n", "1:4: byte 0xff is not UTF-8");
    refused("\xff\xfe"
            "a\n",
            "1:1: the file is UTF-16, it begins with a byte order mark (expected UTF-8)");
    refused("\xfe\xff"
            "a\n",
            "1:1: the file is UTF-16, it begins with a byte order mark (expected UTF-8)");
    refused("a: 1\n\xef\xbb\xbf"
            "b: 2\n",
            "2:1: byte order mark in the midst of the file (expected at its start)");
}
END_TEST

START_TEST(decorations_are_refused)
{
    refused("a: &x 1\n", "1:4: anchors");
    refused("a: &x {b: 1}\n", "1:4: anchors");
    refused("a: &x [1]\n", "1:4: anchors");
    refused("a: *x\n", "1:4: aliases");
    refused("*x : 1\n", "1:1: aliases");
    refused("a: !!int 1\n", "1:4: tags");
    refused("a: !foo {}\n", "1:4: tags");
    refused("! [x]\n", "1:1: tags");
    refused("%YAML 1.1\n---\na: 1\n", "1:1: directives");
    refused("%TAG ! tag:x,2000:\n---\na: 1\n", "1:1: directives");
    refused("a: 1\n---\nb: 2\n", "2:1: a second document");
}
END_TEST

START_TEST(keys)
{
    refused("a: 1\nb: 2\na: 3\n", "3:1: duplicate key \"a\" (first on line 1)");
    refused("x: {a: 1, \"a\": 2}\n", "1:11: duplicate key");
    refused("[a]: 1\n", "1:1: a key must be");
    refused("? {a: 1}\n: 1\n", "1:3: a key must be");
    refused("~: 1\n", "1:1: a value without a key");
    refused("\"\\e[2J\": 1\n\"\\e[2J\": 2\n", "2:1: duplicate key \"\\x1b[2J\"");
}
END_TEST

START_TEST(what_is_left_is_kept)
{
    const char *text = "a: 1\na: 2\nb: *x\nc: 3\n";
    const struct yaml_node *root = load_bytes(text, strlen(text), -1);
    ck_assert_str_eq(member(root, "a")->text, "1");
    ck_assert_int_eq(member(root, "b")->type, YAML_IS_BAD);
    ck_assert_str_eq(member(root, "c")->text, "3");
    ck_assert_str_eq(buf_peek(&problems), "2:1: duplicate key \"a\" (first on line 1)\n"
                                          "3:4: aliases (*name) are not accepted\n");
}
END_TEST

START_TEST(syntax)
{
    refused("a: [1\n", "2:1: not YAML: ");
    refused("a: 'x\n", "2:1: not YAML: ");
    refused("a: b: c\n", "1:5: not YAML: ");
    refused("a:\n\tb: 1\n", "2:1: not YAML: ");
    ck_assert_ptr_nonnull(strstr(buf_peek(&problems), "tab"));
    refused("}\n", "1:1: not YAML: ");
    refused("a: \"\\q\"\n", "1:5: not YAML: ");
    refused("a: \"\\uD800\"\n", "1:7: not YAML: ");
}
END_TEST

START_TEST(bytes)
{
    refused("a: \x01\n", "1:4: control character U+0001");
    refused("a: 1\nb: \x1b[m\n", "2:4: control character U+001B");
    refused("a: \xc2\x9b\n", "1:4: control character U+009B");
    load_bytes("a: \0\n", 5, -1);
    ck_assert_str_eq(buf_peek(&problems), "1:4: control character U+0000\n");
    load_bytes("\xff\xfe"
               "a\0:\0",
               6, -1); /* UTF-16 */
    ck_assert_str_eq(member(load("\xef\xbb\xbf"
                                 "a: 1\n"),
                            "a")
                         ->text,
                     "1"); /* byte order mark */
    ck_assert_str_eq(member(load("a: 1\r\nb: 2\r\n"), "b")->text, "2");
    const struct yaml_node *a = member(load("a: \"x\\0y\"\n"), "a");
    ck_assert_uint_eq(a->len, 3);
    ck_assert_mem_eq(a->text, "x\0y", 4);
}
END_TEST

START_TEST(bounds)
{
    struct buf text = BUF_INIT;
    for (int i = 0; i < YAML_LOAD_DEPTH_MAX; i++)
        buf_putc(&text, '[');
    for (int i = 0; i < YAML_LOAD_DEPTH_MAX; i++)
        buf_putc(&text, ']');
    load(buf_peek(&text));
    buf_reset(&text);
    for (int i = 0; i < 2000; i++)
        buf_putc(&text, i % 2 ? '{' : '[');
    refused(buf_peek(&text), "1:33: nested too deep");

    buf_reset(&text);
    for (int i = 0; i < YAML_LOAD_NODES_MAX; i++)
        buf_puts(&text, "- 1\n");
    refused(buf_peek(&text), "20000:3: too many values");
    buf_done(&text);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, NULL, teardown);
    tcase_add_test(tc, shapes_and_places);
    tcase_add_test(tc, nothing_is_nothing);
    tcase_add_test(tc, columns_count_characters);
    tcase_add_test(tc, decorations_are_refused);
    tcase_add_test(tc, keys);
    tcase_add_test(tc, what_is_left_is_kept);
    tcase_add_test(tc, syntax);
    tcase_add_test(tc, bytes);
    tcase_add_test(tc, bounds);
}

UNIT_MAIN("yaml_load", add_tests)

/*
 * yaml_load.c: see yaml_load.h. A recursive walk over libyaml's events, bounded by
 * YAML_LOAD_DEPTH_MAX.
 *
 * libyaml is given bytes that were checked before (UTF-8, no controls), because its own complaints
 * about bytes have no line and column.
 */
#include "common/compat.h"
#include "common/yaml_load.h"

#include "common/buf.h"
#include "common/mem.h"
#include "common/utf8.h"

#include <dirent.h>
#include <yaml.h>

struct loader {
    yaml_parser_t parser;
    const char *text;
    size_t len;
    struct arena *arena;
    yaml_problem_fn *report;
    void *arg;
    size_t nodes;
    unsigned depth;
    bool has_problem;
    bool is_over; /* a problem behind which nothing can be read */
};

static void problem(struct loader *l, yaml_mark_t mark, const char *fmt, ...) CB_PRINTF(3, 4);
static struct yaml_node *read_node(struct loader *l, yaml_event_t *event);

static void problem(struct loader *l, yaml_mark_t mark, const char *fmt, ...)
{
    struct buf text = BUF_INIT;
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    l->report(l->arg, (int)mark.line + 1, (int)mark.column + 1, buf_peek(&text));
    l->has_problem = true;
    buf_done(&text);
}

/* ---- bytes ---- */

/* What YAML lets stand in a text (and the byte order mark at its start). */
static bool is_yaml_character(uint32_t cp, size_t at)
{
    if (cp < 0x20)
        return cp == '\t' || cp == '\n' || cp == '\r';
    if (cp == 0xFEFF)
        return at == 0;
    return (cp < 0x7F) || cp == 0x85 || (cp >= 0xA0 && cp <= 0xFFFD) || cp >= 0x10000;
}

/* Some editors write UTF-16, with a mark that says so. */
static bool is_utf16(const struct loader *l)
{
    return l->len >= 2 &&
           (memcmp(l->text, "\xff\xfe", 2) == 0 || memcmp(l->text, "\xfe\xff", 2) == 0);
}

static int check_bytes(struct loader *l)
{
    yaml_mark_t mark = {0, 0, 0};

    if (is_utf16(l)) {
        problem(l, mark, "the file is UTF-16, it begins with a byte order mark (expected UTF-8)");
        return -1;
    }

    while (mark.index < l->len) {
        uint32_t cp = 0;
        size_t n = utf8_decode(l->text + mark.index, l->len - mark.index, &cp);
        if (n == 0) {
            problem(l, mark, "byte 0x%02x is not UTF-8", (unsigned char)l->text[mark.index]);
            return -1;
        }
        if (!is_yaml_character(cp, mark.index)) {
            if (cp == 0xFEFF)
                problem(l, mark,
                        "byte order mark in the midst of the file (expected at its start)");
            else
                problem(l, mark, "control character U+%04X", cp);
            return -1;
        }
        mark.index += n;
        mark.column = cp == '\n' ? 0 : mark.column + 1;
        mark.line += cp == '\n';
    }
    return 0;
}

/* ---- events ---- */

static void report_syntax(struct loader *l)
{
    const yaml_parser_t *p = &l->parser;
    const char *what = p->problem ? p->problem : "cannot be read";
    const char *hint = "";

    if (p->problem_mark.index < l->len && l->text[p->problem_mark.index] == '\t')
        hint = " (expected spaces: a tab cannot indent)";
    if (p->context)
        problem(l, p->problem_mark, "not YAML: %s, %s%s", p->context, what, hint);
    else
        problem(l, p->problem_mark, "not YAML: %s%s", what, hint);
}

/* The next event; false at the end of what can be read. The caller deletes the event. */
static bool next_event(struct loader *l, yaml_event_t *event)
{
    if (l->is_over)
        return false;
    if (!yaml_parser_parse(&l->parser, event)) {
        mem_must_be(l->parser.error != YAML_MEMORY_ERROR);
        report_syntax(l);
        l->is_over = true;
        return false;
    }
    return true;
}

static struct yaml_node *new_node(struct loader *l, const yaml_event_t *event,
                                  enum yaml_node_type type)
{
    struct yaml_node *node = arena_alloc(l->arena, sizeof *node);

    node->type = type;
    node->line = (int)event->start_mark.line + 1;
    node->col = (int)event->start_mark.column + 1;
    if (++l->nodes > YAML_LOAD_NODES_MAX && !l->is_over) {
        problem(l, event->start_mark, "too many values (expected at most %d)", YAML_LOAD_NODES_MAX);
        l->is_over = true;
    }
    return node;
}

static void refuse_decoration(struct loader *l, const yaml_event_t *event,
                              const yaml_char_t *anchor, const yaml_char_t *tag)
{
    if (anchor)
        problem(l, event->start_mark, "anchors (&name) are not accepted");
    if (tag)
        problem(l, event->start_mark, "tags (!name) are not accepted");
}

static struct yaml_node *read_scalar(struct loader *l, const yaml_event_t *event)
{
    struct yaml_node *node = new_node(l, event, YAML_IS_SCALAR);

    refuse_decoration(l, event, event->data.scalar.anchor, event->data.scalar.tag);
    node->is_plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    node->len = event->data.scalar.length;
    node->text = arena_strndup(l->arena, (const char *)event->data.scalar.value, node->len);
    return node;
}

/* ---- mappings and lists ---- */

static const struct yaml_node *find_key(const struct yaml_node *map, const struct yaml_node *key)
{
    for (const struct yaml_node *n = map->child; n; n = n->next) {
        if (n->key_len == key->len && memcmp(n->key, key->text, key->len) == 0)
            return n;
    }
    return NULL;
}

/* True when the key may be used; says why otherwise. */
static bool check_key(struct loader *l, const struct yaml_node *map, const struct yaml_node *key,
                      yaml_mark_t mark)
{
    if (key->type == YAML_IS_BAD)
        return false;
    if (key->type != YAML_IS_SCALAR) {
        problem(l, mark, "a key must be a single word");
        return false;
    }
    if (yaml_is_null(key)) {
        problem(l, mark, "a value without a key");
        return false;
    }
    const struct yaml_node *first = find_key(map, key);
    if (first) {
        struct buf name = BUF_INIT;
        utf8_put_escaped(&name, key->text, key->len, '"');
        problem(l, mark, "duplicate key \"%.200s\" (first on line %d)", buf_peek(&name),
                first->key_line);
        buf_done(&name);
    }
    return !first;
}

/* Reads key and value behind `event`, the key's first; returns the value with its key, or NULL when
 * the pair is not to be kept. */
static struct yaml_node *read_pair(struct loader *l, const struct yaml_node *map,
                                   yaml_event_t *event)
{
    yaml_mark_t mark = event->start_mark;
    struct yaml_node *key = read_node(l, event);
    bool is_good = check_key(l, map, key, mark);
    yaml_event_t value_event;

    if (!next_event(l, &value_event))
        return NULL;
    struct yaml_node *value = read_node(l, &value_event);
    yaml_event_delete(&value_event);
    if (!is_good)
        return NULL;
    value->key = key->text;
    value->key_len = key->len;
    value->key_line = key->line;
    value->key_col = key->col;
    return value;
}

static void read_children(struct loader *l, struct yaml_node *parent, yaml_event_type_t end)
{
    struct yaml_node **tail = &parent->child;
    yaml_event_t event;

    while (next_event(l, &event)) {
        bool is_end = event.type == end;
        if (!is_end) {
            struct yaml_node *node = parent->type == YAML_IS_MAP ? read_pair(l, parent, &event)
                                                                 : read_node(l, &event);
            if (node) {
                *tail = node;
                tail = &node->next;
            }
        }
        yaml_event_delete(&event);
        if (is_end)
            break;
    }
}

static struct yaml_node *read_container(struct loader *l, const yaml_event_t *event,
                                        enum yaml_node_type type)
{
    struct yaml_node *node = new_node(l, event, type);

    if (l->depth == YAML_LOAD_DEPTH_MAX) {
        problem(l, event->start_mark, "nested too deep (expected at most %d levels)",
                YAML_LOAD_DEPTH_MAX);
        l->is_over = true;
        return node;
    }
    l->depth++;
    read_children(l, node, type == YAML_IS_MAP ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT);
    l->depth--;
    return node;
}

/* Reads the node that starts with `event`, which stays the caller's. Never NULL. */
static struct yaml_node *read_node(struct loader *l, yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return read_scalar(l, event);
    case YAML_MAPPING_START_EVENT:
        refuse_decoration(l, event, event->data.mapping_start.anchor,
                          event->data.mapping_start.tag);
        return read_container(l, event, YAML_IS_MAP);
    case YAML_SEQUENCE_START_EVENT:
        refuse_decoration(l, event, event->data.sequence_start.anchor,
                          event->data.sequence_start.tag);
        return read_container(l, event, YAML_IS_LIST);
    case YAML_ALIAS_EVENT:
        problem(l, event->start_mark, "aliases (*name) are not accepted");
        return new_node(l, event, YAML_IS_BAD);
    default:
        cb_assert(!"an event that cannot start a node");
        return NULL;
    }
}

/* ---- the document ---- */

static void start_document(struct loader *l, const yaml_event_t *event, bool is_first)
{
    if (!is_first) {
        problem(l, event->start_mark, "a second document (expected one)");
        l->is_over = true;
    }
    if (event->data.document_start.version_directive ||
        event->data.document_start.tag_directives.start !=
            event->data.document_start.tag_directives.end)
        problem(l, event->start_mark, "directives (%%YAML, %%TAG) are not accepted");
}

static struct yaml_node *read_stream(struct loader *l)
{
    struct yaml_node *root = NULL;
    bool is_first = true;
    yaml_event_t event;

    while (next_event(l, &event)) {
        bool is_end = event.type == YAML_STREAM_END_EVENT;
        if (event.type == YAML_DOCUMENT_START_EVENT) {
            start_document(l, &event, is_first);
            is_first = false;
        } else if (!is_end && event.type != YAML_STREAM_START_EVENT &&
                   event.type != YAML_DOCUMENT_END_EVENT) {
            root = read_node(l, &event);
        }
        yaml_event_delete(&event);
        if (is_end)
            break;
    }
    return root;
}

int yaml_load(const char *text, size_t len, struct arena *arena, struct yaml_node **ret_root,
              yaml_problem_fn *report, void *arg)
{
    struct loader l = {.text = text, .len = len, .arena = arena, .report = report, .arg = arg};

    *ret_root = NULL;
    if (check_bytes(&l))
        return -1;
    int is_ready = yaml_parser_initialize(&l.parser);
    mem_must_be(is_ready);
    yaml_parser_set_encoding(&l.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&l.parser, (const unsigned char *)text, len);
    *ret_root = read_stream(&l);
    yaml_parser_delete(&l.parser);
    return l.has_problem ? -1 : 0;
}

bool yaml_is_null(const struct yaml_node *node)
{
    return node->type == YAML_IS_SCALAR && node->is_plain &&
           (node->len == 0 || strcmp(node->text, "~") == 0 || strcmp(node->text, "null") == 0);
}

/* ---- folders ---- */

static int is_yaml_name(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);
    return entry->d_name[0] != '.' && len > 5 && strcmp(entry->d_name + len - 5, ".yaml") == 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

int yaml_list_folder(const char *dir, struct dirent ***ret_entries)
{
    return scandir(dir, ret_entries, is_yaml_name, by_name);
}

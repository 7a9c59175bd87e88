/*
 * audit_chain.c: see audit_chain.h.
 */
#include "common/compat.h"
#include "common/audit_chain.h"

#include "common/clock.h"

#include <sha256.h>

static const char hash_mark[] = ",\"hash\":\"";

void audit_position_init(struct audit_position *p)
{
    *p = (struct audit_position){.seq = 0};
    snprintf(p->id, sizeof p->id, "0-0");
    memset(p->hash, '0', sizeof p->hash - 1);
}

void audit_position_put(const struct audit_position *p, struct buf *out)
{
    buf_printf(out, "%" PRId64 " %" PRId64 " %s %s", p->seq, p->n, p->id, p->hash);
}

static bool is_hash(const char *s)
{
    return strlen(s) == AUDIT_HASH_SIZE - 1 && strspn(s, "0123456789abcdef") == strlen(s);
}

bool audit_id_is_valid(const char *s)
{
    struct stream_id id;

    return strlen(s) < STREAM_ID_SIZE && strchr(s, '-') && stream_id_parse(s, &id);
}

/* The next word of *text, which has to fit. */
static bool take_word(const char **text, char *out, size_t size)
{
    size_t len = strcspn(*text, " ");

    if (len == 0 || len >= size)
        return false;
    memcpy(out, *text, len);
    out[len] = '\0';
    *text += len + ((*text)[len] == ' ');
    return true;
}

static bool take_number(const char **text, int64_t *ret)
{
    char word[20];

    if (!take_word(text, word, sizeof word) || strspn(word, "0123456789") != strlen(word))
        return false;
    *ret = strtoll(word, NULL, 10);
    return true;
}

int audit_position_parse(const char *text, struct audit_position *ret)
{
    struct audit_position p;

    if (!take_number(&text, &p.seq) || !take_number(&text, &p.n) ||
        !take_word(&text, p.id, sizeof p.id) || !take_word(&text, p.hash, sizeof p.hash) || *text ||
        !audit_id_is_valid(p.id) || !is_hash(p.hash))
        return -1;
    *ret = p;
    return 0;
}

/* ---- writing ---- */

/* Line ends stand in valid JSON only as white space. */
static void put_json(struct buf *out, struct json_span value)
{
    struct json_span whole;

    if (json_check(value.at, value.len, &whole, NULL, NULL) != 0) {
        json_put_string(out, value.at, value.len);
        return;
    }
    size_t from = out->len;
    buf_append(out, whole.at, whole.len);
    for (char *c = out->data + from; c < out->data + out->len; c++)
        if (*c == '\n' || *c == '\r')
            *c = ' ';
}

/* All but the hash and the brace behind it. */
static void put_members(const struct audit_position *p, const struct audit_entry *e, bool as_text,
                        struct buf *out)
{
    static const char fields[] = ",\"fields\":";
    char time[CLOCK_RFC3339_SIZE];

    clock_format_rfc3339(e->at_ms, time);
    buf_printf(out, "{\"seq\":%" PRId64 ",\"n\":%" PRId64 ",\"id\":\"%s\",\"kind\":", p->seq + 1,
               e->n, e->id);
    json_put_string(out, e->kind.at, e->kind.len);
    buf_printf(out, ",\"at\":\"%s\",\"data\":", time);
    if (as_text)
        json_put_string(out, e->data.at, e->data.len);
    else
        put_json(out, e->data);
    if (e->more && as_text) {
        buf_puts(out, fields);
        json_put_cstr(out, e->more + sizeof fields - 1);
    } else if (e->more) {
        buf_puts(out, e->more);
    }
    buf_printf(out, ",\"prev\":\"%s\"", p->hash);
}

static bool is_valid(struct buf *out, size_t from)
{
    buf_putc(out, '}');
    bool is_json = json_check(out->data + from, out->len - from, NULL, NULL, NULL) == 0;
    out->len--;
    return is_json;
}

void audit_chain_put(struct audit_position *p, const struct audit_entry *e, struct buf *out)
{
    size_t from = out->len;

    put_members(p, e, false, out);
    /* A field that is there twice, or data as deep as JSON may be: what cannot be read back is no record. */
    if (!is_valid(out, from)) {
        out->len = from;
        put_members(p, e, true, out);
    }
    p->seq++;
    p->n = e->n;
    if (e->id != p->id)
        snprintf(p->id, sizeof p->id, "%s", e->id);
    SHA256Data((const uint8_t *)out->data + from, out->len - from, p->hash);
    buf_printf(out, "%s%s\"}\n", hash_mark, p->hash);
}

/* ---- checking ---- */

static bool copy_string(struct json_span literal, char *out, size_t size)
{
    if (literal.len < 2 || literal.len - 2 >= size || literal.at[0] != '"')
        return false;
    memcpy(out, literal.at + 1, literal.len - 2);
    out[literal.len - 2] = '\0';
    return true;
}

/* The members in their order; `fields` may be missing. */
static bool take_members(struct json_span object, struct audit_line *ret)
{
    static const char *const names[] = {"seq",  "n",      "id",   "kind", "at",
                                        "data", "fields", "prev", "hash"};
    struct json_span values[CB_ARRAY_LEN(names)] = {{NULL, 0}};
    struct json_iter it;
    struct json_item item;
    size_t i = 0;

    for (json_iter_init(&it, object); json_iter_next(&it, &item); i++) {
        if (i == 6 && !json_string_equals(item.key, names[i]))
            i++;
        if (i >= CB_ARRAY_LEN(names) || !json_string_equals(item.key, names[i]))
            return false;
        values[i] = item.value;
    }
    ret->kind = values[3];
    ret->time = values[4];
    ret->data = values[5];
    return i == CB_ARRAY_LEN(names) && json_decode_int(values[0], &ret->at.seq) == 0 &&
           json_decode_int(values[1], &ret->at.n) == 0 &&
           copy_string(values[2], ret->at.id, sizeof ret->at.id) && audit_id_is_valid(ret->at.id) &&
           json_type_of(ret->kind) == JSON_STRING && json_type_of(ret->time) == JSON_STRING &&
           copy_string(values[7], ret->prev, sizeof ret->prev) && is_hash(ret->prev) &&
           copy_string(values[8], ret->at.hash, sizeof ret->at.hash) && is_hash(ret->at.hash);
}

const char *audit_chain_check(const char *line, size_t len, struct audit_line *ret)
{
    /* ,"hash":"<hash>"} is as long in every line. */
    const size_t tail = sizeof hash_mark - 1 + AUDIT_HASH_SIZE - 1 + 2;
    char hash[SHA256_DIGEST_STRING_LENGTH];
    struct json_span whole;
    enum json_type type;

    if (json_check(line, len, &whole, &type, NULL) != 0 || type != JSON_OBJECT || whole.len != len)
        return "it is not one JSON object";
    if (len <= tail || memcmp(line + len - tail, hash_mark, sizeof hash_mark - 1) != 0 ||
        !take_members(whole, ret))
        return "it is no audit record: members are missing, too many, or of another form";
    SHA256Data((const uint8_t *)line, len - tail, hash);
    if (strcmp(hash, ret->at.hash) != 0)
        return "its hash does not match: the line was changed";
    return NULL;
}

const char *audit_chain_follows(const struct audit_position *before, const struct audit_line *line)
{
    bool is_rewound = json_string_equals(line->kind, AUDIT_REWOUND);

    if (line->at.seq <= before->seq)
        return "its seq is not higher than that of the line before: lines were moved or repeated";
    if (line->at.seq != before->seq + 1)
        return "its seq is not the next one: lines are missing";
    if (strcmp(line->prev, before->hash) != 0)
        return "its prev is not the hash of the line before: lines were changed, added or removed";
    if (!is_rewound &&
        (line->at.n < before->n || stream_id_compare_texts(line->at.id, before->id) < 0))
        return "its stream entry is older than that of the line before";
    return NULL;
}

/*
 * records_int.h: for records.c and record_task.c: values as columns. NULL spans are null.
 */
#ifndef CB_ARCHIVE_RECORDS_INT_H
#define CB_ARCHIVE_RECORDS_INT_H

#include "archive/records.h"

/* The end of the year 9999: PostgreSQL has more, but who reads it has not. */
#define RECORD_MS_MAX INT64_C(253402300800000)

/* The value of a field of a hash, as HGETALL gave it; NULL when it has none. Borrowed from the reply. */
struct json_span record_find(const reply_t *fields, const char *name);
/* A whole number in decimal digits and nothing behind it: true, and *ret. */
bool record_int(struct json_span s, int64_t *ret);
/* A member that is a time as RFC 3339 has it: true, and *ret_us since 1970. */
bool record_member_time(struct json_span object, const char *name, int64_t *ret_us);

/* Each puts the next value of the table's row; null where the value is not what its column takes. */
void record_put_span(struct batch *b, enum table_id table, struct json_span s); /* text as it is */
void record_put_int(struct batch *b, enum table_id table, struct json_span s);  /* 32 bits */
/* Milliseconds since 1970, as a time. */
void record_put_ms(struct batch *b, enum table_id table, struct json_span s);
/* JSON that is not JSON would be refused with the whole batch. */
void record_put_json(struct batch *b, enum table_id table, struct json_span s);
/* A JSON string as text, in which PostgreSQL has no NUL: U+FFFD is in its place. */
void record_put_string(struct batch *b, enum table_id table, struct json_span literal);
/* A member that is a string. */
void record_put_member(struct batch *b, enum table_id table, struct json_span object,
                       const char *name);

#endif

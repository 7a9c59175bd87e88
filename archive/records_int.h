/*
 * records_int.h: for records.c and record_task.c: values as columns. NULL spans are null.
 */
#ifndef CB_ARCHIVE_RECORDS_INT_H
#define CB_ARCHIVE_RECORDS_INT_H

#include "archive/records.h"

/* The end of the year 9999: PostgreSQL has more, but who reads it has not. */
#define RECORD_MS_MAX INT64_C(253402300800000)

struct json_span fields_find(const reply_t *fields, const char *name);
bool span_int(struct json_span s, int64_t *ret);
void put_span(struct batch *b, enum table_id table, struct json_span s);
void put_int(struct batch *b, enum table_id table, struct json_span s);
void put_ms(struct batch *b, enum table_id table, struct json_span s);
void put_json(struct batch *b, enum table_id table, struct json_span s);
void put_string(struct batch *b, enum table_id table, struct json_span literal);
void put_member(struct batch *b, enum table_id table, struct json_span object, const char *name);
bool member_time(struct json_span object, const char *name, int64_t *ret_us);

#endif

/*
 * stream_id.h: the ids that Redis gives to entries of streams, "milliseconds-sequence". Within a stream they rise.
 */
#ifndef CB_STREAM_ID_H
#define CB_STREAM_ID_H

#include <stdbool.h>
#include <stdint.h>

enum { STREAM_ID_SIZE = 44 }; /* "18446744073709551615-18446744073709551615" and its NUL fit */

struct stream_id {
    uint64_t ms;
    uint64_t seq;
};

/* "123" or "123-4". False when it is neither: then *ret is as it was. */
bool stream_id_parse(const char *text, struct stream_id *ret);
void stream_id_put(struct stream_id id, char out[STREAM_ID_SIZE]);
/* <0, 0, >0 as of strcmp(). */
int stream_id_compare(struct stream_id a, struct stream_id b);
/* The same of texts; one that is no id counts as 0-0. */
int stream_id_compare_texts(const char *a, const char *b);

#endif

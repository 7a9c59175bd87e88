/*
 * jsonc.h: json-c for documents that the supervisor makes. Instead of <json-c/json.h>: what json-c answers with NULL when there is
 * no memory, its next function takes for a bug and aborts. With this a document is made, or the program ends as mem.h does.
 */
#ifndef CB_JSONC_H
#define CB_JSONC_H

#include "common/mem.h"

#include <json-c/json.h>

/* A macro's own name within it means the function. */
#define json_object_new_object()    ((json_object *)mem_must(json_object_new_object()))
#define json_object_new_array()     ((json_object *)mem_must(json_object_new_array()))
#define json_object_new_string(s)   ((json_object *)mem_must(json_object_new_string(s)))
#define json_object_new_int64(n)    ((json_object *)mem_must(json_object_new_int64(n)))
#define json_object_new_boolean(is) ((json_object *)mem_must(json_object_new_boolean(is)))
#define json_tokener_new_ex(depth)  ((json_tokener *)mem_must(json_tokener_new_ex(depth)))
#define json_object_object_add(o, key, value)                                                      \
    mem_must_be(json_object_object_add(o, key, value) == 0)
#define json_object_array_add(list, value) mem_must_be(json_object_array_add(list, value) == 0)

#endif

/*
 * redis_info.h: what the supervisor wants to know from INFO, and whether such a Redis will do.
 */
#ifndef CB_REDIS_INFO_H
#define CB_REDIS_INFO_H

#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct redis_info {
    char version[24];
    int major;
    int minor;
    char run_id[48];
    int64_t process_id;
    bool is_loading;
    bool is_replica;
    bool is_cluster;
    bool has_aof;
    int64_t replicas; /* connected */
    uint64_t used_memory;
    uint64_t max_memory; /* 0 = no limit */
    char policy[32];     /* maxmemory_policy */
};

/* Takes what is there out of INFO's text (any sections); what is not there keeps its value. */
void redis_info_parse(const char *text, struct redis_info *info);
/* 0, or -1 when this Redis cannot serve us. EXITCODE_CONFIG: it is too old, or a Cluster and our keys are not all in one slot.
 * EXITCODE_UNAVAILABLE: it does not say what it is, which is no proof of anything. */
int redis_info_check(const struct redis_info *info, const char *prefix, struct cb_error *err);
/* -1: what is said of one that is a replica. */
int redis_info_refuse_replica(struct cb_error *err);
/* The n-th (from 0) piece of advice about a setting, or NULL when there is no more. */
const char *redis_info_advice(const struct redis_info *info, size_t n);

#endif

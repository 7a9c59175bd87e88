/*
 * redis_config.h: the configuration of the embedded redis-server, as the text that it reads from stdin.
 */
#ifndef CB_REDIS_CONFIG_H
#define CB_REDIS_CONFIG_H

#include "common/buf.h"
#include "common/options.h"

struct redis_config {
    const struct options *opts;
    const char *socket;      /* unix socket */
    const char *daemon_hash; /* SHA-256 of the passwords, hex */
    const char *client_hash;
    const char *backup_hash;
};

void redis_config_put(const struct redis_config *cfg, struct buf *out);

#endif

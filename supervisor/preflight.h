/*
 * preflight.h: `claudebenchd -t` beyond the configuration's text: the files, folders and programs that a start needs.
 *
 * It makes nothing, changes nothing and takes no lock, so that it can be asked while a daemon runs; what that daemon holds is no
 * mistake. Nor does it connect to anything: a Redis that is away stops no daemon.
 */
#ifndef CB_PREFLIGHT_H
#define CB_PREFLIGHT_H

#include "common/options.h"

struct config;

/*
 * Adds to *errs what would make a start by this user fail, and, as "warning: …", what would make the daemon that starts one that
 * lacks something: rules, the audit file. Returns the exit code of such a start, 0 when there are no more than warnings.
 */
int preflight(const struct options *opts, const struct config *config, struct options_errors *errs);

#endif

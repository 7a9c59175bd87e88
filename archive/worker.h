/*
 * worker.h: the worker of the domain `archive`.
 */
#ifndef CB_ARCHIVE_WORKER_H
#define CB_ARCHIVE_WORKER_H

/* The command line is claudebench-worker's: -d archive -s SLOT -g GENERATION -i INSTANCE. Returns the exit code. */
int archive_worker_main(int argc, char **argv);

#endif

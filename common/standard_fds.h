/*
 * standard_fds.h: sees to it that descriptors 0, 1 and 2 are open, before anything else is opened.
 *
 * What is opened first takes the lowest number that is free: with stdout closed, a connection to Redis would be
 * descriptor 1, and what was meant for people would be sent to Redis. Called first thing in main().
 */
#ifndef CB_STANDARD_FDS_H
#define CB_STANDARD_FDS_H

/* For a daemon: what it reads there ends at once, what it writes there is gone. */
void standard_fds_open_silent(void);

/* For a command: what it reads or writes there fails, as it does with a closed descriptor. */
void standard_fds_open_failing(void);

#endif

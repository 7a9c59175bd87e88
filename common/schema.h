/*
 * schema.h: the schemas of the data in Redis that this version can work on (`schema` in cb:meta; lua/tick.lua writes it).
 */
#ifndef CB_SCHEMA_H
#define CB_SCHEMA_H

enum { SCHEMA_MIN = 1, SCHEMA_MAX = 1 };

#endif

/*
 * options_doc.h: documents that are made from the option table. tools/print_tables prints them; a
 * test compares them with what is in the tree (make update-docs brings that up to date).
 */
#ifndef CB_OPTIONS_DOC_H
#define CB_OPTIONS_DOC_H

#include "common/buf.h"

/* etc/claudebench.yaml: every option with its text, range and default, commented out. The folders
 * are those of a package (/run, /var/lib), whatever this build was configured with. */
void options_doc_sample(struct buf *out);
/* The list for claudebench.yaml(5), in mdoc. */
void options_doc_mdoc(struct buf *out);

#endif

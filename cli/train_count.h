/* What dino train --dry-run prints. */
#ifndef CLI_TRAIN_COUNT_H
#define CLI_TRAIN_COUNT_H

#include "dino_train.h"
#include "report.h"

/* To stdout, for people or as JSON. Returns the exit status: a failure if it does not fit. */
int dn_print_train_count(struct report *report, const struct dino_train_memory *count,
                         bool checkpointing, bool as_json);

#endif

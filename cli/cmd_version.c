/* dino version */
#include "command.h"

static const struct option_group groups[] = {{0}};

static int run(struct call *call)
{
    dn_print(call->report, "dino %s\n", dino_version());
    return STATUS_OK;
}

const struct command dn_cmd_version = {
    .name = "version",
    .summary = "print the version",
    .arguments = "",
    .groups = groups,
    .most = 0,
    .run = run,
};

/* The first failure of a queue. Apart from device.c, so that a device in a library of its own
 * takes this and not the others. */
#include <stdio.h>

#include "compute/device.h"

bool dn_queue_finish(struct queue *q, struct dino_error *err)
{
    q->device->ops->queue_sync(q);
    return dn_queue_report(q, err);
}

bool dn_queue_report(struct queue *q, struct dino_error *err)
{
    if (q->error.code == DINO_OK)
        return true;
    if (err)
        *err = q->error;
    q->error = (struct dino_error){0};
    return false;
}

void dn_queue_fail(struct queue *q, enum dino_code code, const char *format, ...)
{
    if (q->error.code != DINO_OK)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(q->error.message, sizeof q->error.message, format, args);
    va_end(args);
    q->error.code = code;
}

bool dn_queue_stopped(struct queue *q)
{
    if (q->error.code == DINO_OK && q->keep_going && !q->keep_going(q->context))
        dn_queue_fail(q, DINO_ECANCELLED, "stopped before the end of a pass");
    return q->error.code != DINO_OK;
}

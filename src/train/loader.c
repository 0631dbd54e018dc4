/*
 * Work is claimed picture by picture, so that all threads share the batch that is wanted next.
 * Batches lie in a ring: the one the trainer uses, then those ahead. One lock guards the claim
 * and the counts; pictures are made outside it, each by one thread into its own place.
 */
#include "train/loader.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cpu_features.h"

enum { MOST_THREADS = 256, MOST_AHEAD = 64, AHEAD = 2, MANY_MISSES = 100 };

/* One batch in the making. Pictures' misses and errors are kept apart, so that what is
 * reported does not depend on which thread was first. */
struct slot {
    struct batch batch;
    struct misses *misses;     /* [count] */
    struct dino_error *errors; /* [count] */
    int left;                  /* pictures that are not finished */
};

struct loader {
    const struct dataset *dataset;
    const struct train_config *config;
    struct augment augment;
    struct batch_part part;
    int64_t period;
    dino_skip_fn skipped_one;
    void *context;
    uint8_t *told;        /* a bit a picture: unreadable, and said so */
    int64_t skipped;      /* bits that are set */
    int64_t made, missed; /* pictures of batches handed out, and reads that failed */
    struct dino_error failure;

    pthread_mutex_t lock;
    pthread_cond_t room; /* a slot was given back */
    pthread_cond_t done; /* a batch is finished */
    struct slot *slots;
    int slot_count;
    int64_t held;  /* step of the batch that the trainer uses or waits for */
    int64_t claim; /* step whose pictures are being claimed */
    int picture;   /* the next one of it */
    bool in_use;   /* the trainer has the batch of step `held` */
    bool stop;

    pthread_t threads[MOST_THREADS];
    int thread_count;
};

static struct slot *slot_of(const struct loader *l, int64_t step)
{
    return &l->slots[step % l->slot_count];
}

/* Waits for a picture to make; false when there will be none. */
static bool claim_picture(struct loader *l, struct slot **slot, int *picture)
{
    pthread_mutex_lock(&l->lock);
    while (!l->stop && l->claim >= l->held + l->slot_count)
        pthread_cond_wait(&l->room, &l->lock);
    bool go = !l->stop;
    if (go) {
        *slot = slot_of(l, l->claim);
        *picture = l->picture++;
        if (*picture == 0) {
            (*slot)->batch.step = l->period ? l->claim % l->period : l->claim;
            (*slot)->left = l->part.count;
        }
        if (l->picture == l->part.count) {
            l->picture = 0;
            l->claim++;
        }
    }
    pthread_mutex_unlock(&l->lock);
    return go;
}

static void finish_picture(struct loader *l, struct slot *slot)
{
    pthread_mutex_lock(&l->lock);
    if (--slot->left == 0)
        pthread_cond_signal(&l->done);
    pthread_mutex_unlock(&l->lock);
}

static void *work(void *context)
{
    struct loader *l = context;
    struct slot *slot;
    int picture;

    while (claim_picture(l, &slot, &picture)) {
        if (picture == 0)
            dn_masks_make(&slot->batch.masks, l->config, l->part, l->dataset->seed,
                          slot->batch.step);
        dn_batch_fill(&slot->batch, l->dataset, &l->augment, picture, &slot->misses[picture],
                      &slot->errors[picture]);
        finish_picture(l, slot);
    }
    return NULL;
}

/* Signals are the program's business, not these threads'. */
static bool start_threads(struct loader *l, int wanted, struct dino_error *err)
{
    sigset_t all, before;
    int code = 0;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (code == 0 && l->thread_count < wanted) {
        code = pthread_create(&l->threads[l->thread_count], NULL, work, l);
        l->thread_count += code == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (l->thread_count == 0)
        return dn_fail(err, DINO_EIO, "cannot start a loading thread: %s", strerror(code));
    return true; /* fewer than wanted still work */
}

static bool make_slots(struct loader *l, struct dino_error *err)
{
    size_t count = (size_t)l->part.count;

    l->slots = dn_calloc((size_t)l->slot_count, sizeof *l->slots, "a ring of batches", err);
    for (int i = 0; l->slots && i < l->slot_count; i++) {
        struct slot *slot = &l->slots[i];
        slot->misses = dn_calloc(count, sizeof *slot->misses, "a batch", err);
        slot->errors = dn_calloc(count, sizeof *slot->errors, "a batch", err);
        if (!slot->misses || !slot->errors ||
            !dn_batch_init(&slot->batch, l->config, l->part, err))
            return false;
    }
    return l->slots != NULL;
}

static bool check_part(struct batch_part part, struct dino_error *err)
{
    if (part.count >= 1 && part.first >= 0 && part.first <= part.all - part.count)
        return true;
    return dn_fail(err, DINO_EARG, "pictures %d to %d of a batch of %d", part.first,
                   part.first + part.count - 1, part.all);
}

struct loader *dn_loader_open(const struct dataset *dataset, const struct train_config *config,
                              const struct loader_options *options, struct dino_error *err)
{
    int threads = options->threads > 0 ? options->threads : dn_cpu_cores();
    int ahead = options->ahead > 0 ? options->ahead : AHEAD;
    struct batch_part part = options->part;

    if (part.all == 0)
        part = (struct batch_part){config->train.batch_size, 0, config->train.batch_size};
    if (!check_part(part, err))
        return NULL;
    struct loader *l = dn_calloc(1, sizeof *l, "a loader", err);
    if (!l)
        return NULL;
    l->dataset = dataset;
    l->config = config;
    l->part = part;
    l->period = options->period;
    l->skipped_one = options->skipped;
    l->context = options->context;
    l->slot_count = (ahead < MOST_AHEAD ? ahead : MOST_AHEAD) + 1;
    l->held = l->claim = options->first_step;
    dn_augment_init(&l->augment, config);
    l->told = dn_calloc((size_t)dataset->count / 8 + 1, 1, "a list of pictures", err);
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->room, NULL);
    pthread_cond_init(&l->done, NULL);
    if (l->told && make_slots(l, err) &&
        start_threads(l, threads < MOST_THREADS ? threads : MOST_THREADS, err))
        return l;
    dn_loader_close(l);
    return NULL;
}

/* Each picture is told of once, in however many passes it comes. */
static void report_misses(struct loader *l, const struct misses *misses)
{
    l->missed += (int64_t)misses->count;
    for (size_t i = 0; i < misses->count; i++) {
        const struct miss *miss = &misses->items[i];
        uint8_t *told = &l->told[miss->picture / 8], bit = (uint8_t)(1U << miss->picture % 8);
        if (*told & bit)
            continue;
        *told |= bit;
        l->skipped++;
        if (l->skipped_one)
            l->skipped_one(l->context, dino_source_name(l->dataset->source, miss->picture),
                           &miss->why);
    }
}

/* The first picture's error stands for all. Who trains on less than half of what was given
 * should know. */
static bool report(struct loader *l, struct slot *slot, struct dino_error *err)
{
    struct dino_error last = {0};

    for (int i = 0; i < l->part.count; i++) {
        struct misses *misses = &slot->misses[i];
        report_misses(l, misses);
        if (misses->count)
            last = misses->items[misses->count - 1].why;
        misses->count = 0;
    }
    l->made += l->part.count;
    for (int i = 0; i < l->part.count; i++)
        if (slot->errors[i].code != DINO_OK)
            return dn_fail(err, slot->errors[i].code, "%s", slot->errors[i].message);
    if (last.code != DINO_OK && l->missed >= MANY_MISSES && l->missed > l->made)
        return dn_fail(err, last.code,
                       "most pictures cannot be read, %lld of %lld tries, the last: %s",
                       (long long)l->missed, (long long)(l->missed + l->made), last.message);
    return true;
}

const struct batch *dn_loader_next(struct loader *l, struct dino_error *err)
{
    if (l->failure.code != DINO_OK) {
        *err = l->failure;
        return NULL;
    }
    pthread_mutex_lock(&l->lock);
    if (l->in_use) {
        l->held++;
        l->in_use = false;
        pthread_cond_broadcast(&l->room);
    }
    struct slot *slot = slot_of(l, l->held);
    while (l->claim <= l->held || slot->left > 0)
        pthread_cond_wait(&l->done, &l->lock);
    l->in_use = true;
    pthread_mutex_unlock(&l->lock);
    if (report(l, slot, &l->failure))
        return &slot->batch;
    *err = l->failure;
    return NULL;
}

int64_t dn_loader_skipped(const struct loader *loader)
{
    return loader->skipped;
}

void dn_loader_close(struct loader *l)
{
    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    pthread_cond_broadcast(&l->room);
    pthread_mutex_unlock(&l->lock);
    for (int i = 0; i < l->thread_count; i++)
        pthread_join(l->threads[i], NULL);
    for (int i = 0; l->slots && i < l->slot_count; i++) {
        struct slot *slot = &l->slots[i];
        for (int k = 0; slot->misses && k < l->part.count; k++)
            dn_misses_release(&slot->misses[k]);
        free(slot->misses);
        free(slot->errors);
        dn_batch_release(&slot->batch);
    }
    free(l->slots);
    free(l->told);
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->room);
    pthread_cond_destroy(&l->done);
    free(l);
}

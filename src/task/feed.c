/*
 * Feeds: threads that read, decode and view pictures ahead of the one who uses them, handed
 * out in order. Pictures lie in a ring of places: those the caller holds, then those that are
 * done or being worked on, at most `ahead` of them, then empty ones. One lock guards the ring;
 * nothing slow happens under it.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cpu_features.h"
#include "image/image.h"
#include "task/source.h"
#include "task/view.h"

enum { MOST_THREADS = 256, AHEAD_PER_THREAD = 4 };

struct place {
    struct dino_picture picture;
    bool done;
};

struct dino_feed {
    const struct dino_source *source;
    struct dino_view view;
    struct dino_decode_options decode;
    bool keep_original;

    pthread_mutex_t lock;
    pthread_cond_t room; /* the caller took pictures: workers may go on */
    pthread_cond_t done; /* a picture is finished */
    struct place **ring; /* [places]; picture i lies at i % places */
    int64_t places;
    int64_t held;       /* first picture that the caller still holds */
    int64_t next;       /* first that the caller has not been given */
    int64_t claim;      /* first that no worker has begun */
    int64_t end, ahead; /* next - held + ahead <= places */
    bool grows;         /* ahead follows the caller's batches */
    bool stop;

    /* Streams are read by one worker at a time, in order; taken before `lock`. */
    pthread_mutex_t reading;
    pthread_t threads[MOST_THREADS];
    int thread_count;
};

static void place_clear(struct place *p)
{
    dino_image_release(&p->picture.image);
    dino_image_release(&p->picture.original);
    *p = (struct place){0};
}

static struct place *place_of(const struct dino_feed *f, int64_t index)
{
    return f->ring[index % f->places];
}

static void ring_free(struct place **ring, int64_t places)
{
    for (int64_t i = 0; ring && i < places; i++)
        if (ring[i])
            place_clear(ring[i]);
    for (int64_t i = 0; ring && i < places; i++)
        free(ring[i]);
    free(ring);
}

/* More places; pictures in flight keep theirs, only the ring around them is new. */
static bool ring_grow(struct dino_feed *f, int64_t places, struct dino_error *err)
{
    struct place **ring = dn_calloc((size_t)places, sizeof *ring, "a feed", err);

    if (!ring)
        return false;
    for (int64_t i = 0; i < places; i++) {
        int64_t index = f->held + i;
        if (i < f->places)
            ring[index % places] = place_of(f, index);
        else
            ring[index % places] = dn_calloc(1, sizeof(struct place), "a feed", err);
    }
    for (int64_t i = 0; i < places; i++)
        if (!ring[i])
            goto fail;
    free(f->ring);
    f->ring = ring;
    f->places = places;
    return true;
fail:
    for (int64_t i = f->places; i < places; i++)
        free(ring[(f->held + i) % places]);
    free(ring);
    return false;
}

/* From file bytes to what the caller gets. */
static void make_picture(const struct dino_feed *f, struct dino_picture *p, const uint8_t *data,
                         size_t size)
{
    struct dino_image photo = {0};

    p->ok = dino_image_decode(&photo, data, size, p->name, &f->decode, &p->error);
    if (p->ok && f->keep_original)
        p->ok = dino_view_apply(&f->view, &photo, &p->image, &p->error);
    else if (p->ok)
        p->ok = dn_view_take(&f->view, &photo, &p->image, &p->error);
    if (p->ok && f->keep_original)
        p->original = photo;
    else
        dino_image_release(&photo);
}

/* The next picture to work on, or NULL to stop. Its place is this worker's until done. */
static struct place *take_place(struct dino_feed *f)
{
    struct place *place = NULL;

    pthread_mutex_lock(&f->lock);
    while (!f->stop && f->claim < f->end && f->claim >= f->next + f->ahead)
        pthread_cond_wait(&f->room, &f->lock);
    if (!f->stop && f->claim < f->end) {
        place = place_of(f, f->claim);
        place->picture.index = f->claim++;
    }
    pthread_mutex_unlock(&f->lock);
    return place;
}

static bool read_bytes(struct dino_feed *f, struct dino_picture *p, uint8_t **data,
                       size_t *size)
{
    p->name = dino_source_name(f->source, p->index);
    return dn_source_read(f->source, p->index, data, size, &p->error);
}

static void *work(void *context)
{
    struct dino_feed *f = context;

    for (;;) {
        uint8_t *data = NULL;
        size_t size = 0;

        pthread_mutex_lock(&f->reading);
        struct place *place = take_place(f);
        bool streamed = place && dn_source_in_order(f->source, place->picture.index);
        bool got = streamed && read_bytes(f, &place->picture, &data, &size);
        pthread_mutex_unlock(&f->reading);
        if (!place)
            return NULL;
        if (!streamed)
            got = read_bytes(f, &place->picture, &data, &size);
        if (got)
            make_picture(f, &place->picture, data, size);
        free(data);

        pthread_mutex_lock(&f->lock);
        place->done = true;
        pthread_cond_signal(&f->done);
        pthread_mutex_unlock(&f->lock);
    }
}

/* Signals are for the program's own threads: workers block them all. */
static bool start_threads(struct dino_feed *f, int wanted, struct dino_error *err)
{
    sigset_t all, before;
    int code = 0;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (code == 0 && f->thread_count < wanted) {
        code = pthread_create(&f->threads[f->thread_count], NULL, work, f);
        f->thread_count += code == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (f->thread_count == 0)
        return dn_fail(err, DINO_EIO, "cannot start a decoding thread: %s", strerror(code));
    return true; /* fewer than wanted still work */
}

struct dino_feed *dino_feed_open(const struct dino_source *source, const struct dino_view *view,
                                 const struct dino_feed_options *given, struct dino_error *err)
{
    struct dino_feed_options options = {0};
    struct dino_feed *f = dn_calloc(1, sizeof *f, "a feed", err);

    if (!f)
        return NULL;
    if (given)
        memcpy(&options, given,
               given->size && given->size < sizeof options ? given->size : sizeof options);
    int threads = options.threads > 0 ? options.threads : dn_cpu_cores();
    threads = threads < MOST_THREADS ? threads : MOST_THREADS;
    pthread_mutex_init(&f->lock, NULL);
    pthread_mutex_init(&f->reading, NULL);
    pthread_cond_init(&f->room, NULL);
    pthread_cond_init(&f->done, NULL);
    f->source = source;
    f->view = *view;
    f->decode = options.decode;
    f->keep_original = options.keep_original;
    f->end = dino_source_count(source);
    f->ahead = options.ahead > 0 ? options.ahead : (int64_t)threads * AHEAD_PER_THREAD;
    f->grows = options.ahead <= 0;
    f->held = f->next = f->claim = options.first > 0 ? options.first : 0;
    if (!ring_grow(f, 2 * f->ahead, err) || !start_threads(f, threads, err)) {
        dino_feed_close(f);
        return NULL;
    }
    return f;
}

/* Give back what the caller holds, and make room for `count` pictures beside those ahead.
 * Without the memory for that the caller gets fewer at a time. */
static int64_t prepare(struct dino_feed *f, int64_t count)
{
    for (; f->held < f->next; f->held++)
        place_clear(place_of(f, f->held));
    if (count > f->end - f->next)
        count = f->end - f->next;
    int64_t ahead = f->grows && f->ahead < count ? count : f->ahead;
    if (count + ahead <= f->places || ring_grow(f, count + ahead, NULL))
        f->ahead = ahead;
    return count < f->places - f->ahead ? count : f->places - f->ahead;
}

int dino_feed_next(struct dino_feed *f, struct dino_picture *pictures, int count)
{
    pthread_mutex_lock(&f->lock);
    int64_t wanted = prepare(f, count > 0 ? count : 0);
    pthread_cond_broadcast(&f->room);
    for (int64_t i = 0; i < wanted; i++) {
        while (!place_of(f, f->next)->done)
            pthread_cond_wait(&f->done, &f->lock);
        pictures[i] = place_of(f, f->next)->picture;
        f->next++;
        pthread_cond_signal(&f->room);
    }
    pthread_mutex_unlock(&f->lock);
    return (int)(wanted > 0 ? wanted : 0);
}

void dino_feed_close(struct dino_feed *f)
{
    if (!f)
        return;
    pthread_mutex_lock(&f->lock);
    f->stop = true;
    pthread_cond_broadcast(&f->room);
    pthread_mutex_unlock(&f->lock);
    for (int i = 0; i < f->thread_count; i++)
        pthread_join(f->threads[i], NULL);
    ring_free(f->ring, f->places);
    pthread_cond_destroy(&f->done);
    pthread_cond_destroy(&f->room);
    pthread_mutex_destroy(&f->reading);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

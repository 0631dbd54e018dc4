#include "base/alloc.h"

#include <string.h>
#include <sys/mman.h>

enum { HUGE_PAGE = 2 << 20 };

bool dn_size_mul(size_t a, size_t b, size_t *product)
{
    size_t result;

    if (__builtin_mul_overflow(a, b, &result))
        return false;
    *product = result;
    return true;
}

bool dn_size_add(size_t a, size_t b, size_t *sum)
{
    size_t result;

    if (__builtin_add_overflow(a, b, &result))
        return false;
    *sum = result;
    return true;
}

void *dn_calloc(size_t count, size_t size, const char *what, struct dino_error *err)
{
    size_t bytes;

    if (!dn_size_mul(count, size, &bytes)) {
        dn_fail_memory(err, SIZE_MAX, what);
        return NULL;
    }
    void *block = calloc(bytes ? bytes : 1, 1);
    if (!block)
        dn_fail_memory(err, bytes, what);
    return block;
}

void *dn_realloc(void *block, size_t count, size_t size, const char *what,
                 struct dino_error *err)
{
    size_t bytes;

    if (!dn_size_mul(count, size, &bytes)) {
        dn_fail_memory(err, SIZE_MAX, what);
        return NULL;
    }
    void *grown = realloc(block, bytes ? bytes : 1);
    if (!grown)
        dn_fail_memory(err, bytes, what);
    return grown;
}

bool dn_grow(void *items, size_t *room, size_t wanted, size_t size, const char *what,
             struct dino_error *err)
{
    if (wanted <= *room)
        return true;
    size_t more = *room ? *room : 8;
    while (more < wanted)
        if (!dn_size_mul(more, 2, &more))
            return dn_fail_memory(err, SIZE_MAX, what);

    void *old;
    memcpy(&old, items, sizeof old);
    void *grown = dn_realloc(old, more, size, what, err);
    if (!grown)
        return false;
    memcpy(items, &grown, sizeof grown);
    *room = more;
    return true;
}

void *dn_alloc_aligned(size_t bytes, const char *what, struct dino_error *err)
{
    bool big = bytes >= 2 * (size_t)HUGE_PAGE;
    size_t align = big ? HUGE_PAGE : DN_ALIGN;
    size_t rounded;

    if (!dn_size_add(bytes ? bytes : 1, align - 1, &rounded)) {
        dn_fail_memory(err, bytes, what);
        return NULL;
    }
    void *block = aligned_alloc(align, rounded / align * align);
    if (!block) {
        dn_fail_memory(err, bytes, what);
        return NULL;
    }
    if (big)
        madvise(block, rounded / align * align, MADV_HUGEPAGE); /* a wish, not a need */
    return block;
}

void dn_free_aligned(void *block, size_t bytes)
{
    (void)bytes;
    free(block);
}

char *dn_strdup(const char *text, struct dino_error *err)
{
    size_t size = strlen(text) + 1;
    char *copy = dn_calloc(size, 1, "a name", err);
    if (copy)
        memcpy(copy, text, size);
    return copy;
}

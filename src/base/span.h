/* A view of bytes that somebody else owns, eaten from the front by parsers. */
#ifndef BASE_SPAN_H
#define BASE_SPAN_H

#include "base/error.h"

struct span {
    const uint8_t *data;
    size_t size;
};

/* Take little-endian numbers off the front; on failure nothing is consumed. */
bool dn_span_u8(struct span *s, uint8_t *value, struct dino_error *err);
bool dn_span_u16(struct span *s, uint16_t *value, struct dino_error *err);
bool dn_span_u32(struct span *s, uint32_t *value, struct dino_error *err);
bool dn_span_u64(struct span *s, uint64_t *value, struct dino_error *err);

/* Take `size` bytes off the front as a span of their own. */
bool dn_span_take(struct span *s, size_t size, struct span *taken, struct dino_error *err);

/* Take the bytes up to the first `end` (dropped) off the front. */
bool dn_span_until(struct span *s, uint8_t end, struct span *taken, struct dino_error *err);

bool dn_span_starts(struct span s, const char *prefix);
bool dn_span_equals(struct span s, const char *text);

#endif

/* SHA-256 (FIPS 180-4): sums of downloads, and hashes that stand for pictures in tests. */
#ifndef BASE_SHA256_H
#define BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

struct sha256 {
    uint32_t state[8];
    uint64_t size; /* bytes so far */
    uint8_t block[64];
};

void dn_sha256_init(struct sha256 *sum);
void dn_sha256_add(struct sha256 *sum, const void *bytes, size_t size);
/* As 64 hexadecimal digits; the sum is used up. */
void dn_sha256_text(struct sha256 *sum, char text[65]);

/* All of it at once. */
void dn_sha256_of(const void *bytes, size_t size, char text[65]);

#endif

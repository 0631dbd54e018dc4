/* SHA-256 (FIPS 180-4), for the sums that dino get prints. */
#ifndef CLI_SHA256_SUM_H
#define CLI_SHA256_SUM_H

#include <stddef.h>
#include <stdint.h>

struct sha256 {
    uint32_t state[8];
    uint64_t size; /* bytes so far */
    uint8_t block[64];
};

void dn_sha256_init(struct sha256 *sum);
void dn_sha256_add(struct sha256 *sum, const void *bytes, size_t size);
void dn_sha256_text(struct sha256 *sum, char text[65]);

#endif

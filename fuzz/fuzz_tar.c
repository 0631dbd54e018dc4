/* Any bytes as a tar shard, through a file in memory: opened, then read backwards. */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "format/shards.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct shard shard;
    char path[64];
    int fd = memfd_create("input", MFD_CLOEXEC);

    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    dn_shard_is(path);
    if (dn_shard_open(&shard, path, NULL)) {
        for (size_t i = shard.count; i-- > 0;) {
            uint8_t *bytes;
            size_t got;
            if (shard.entries[i].size < 1 << 20 && dn_shard_read(&shard, i, &bytes, &got, NULL))
                free(bytes);
        }
        dn_shard_release(&shard);
    }
    close(fd);
    return 0;
}

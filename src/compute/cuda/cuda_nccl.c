#include "compute/cuda/cuda_nccl.h"

#include <dlfcn.h>
#include <stdlib.h>

bool dn_nccl_open(struct nccl *nccl, struct dino_error *err)
{
    const char *wish = getenv("DINO_NCCL"), *name = wish && *wish ? wish : "libnccl.so.2";
    void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    const struct {
        void *function; /* a pointer to a pointer to a function */
        const char *name;
    } wanted[] = {
        {&nccl->get_version, "ncclGetVersion"},
        {&nccl->get_unique_id, "ncclGetUniqueId"},
        {&nccl->comm_init_rank, "ncclCommInitRank"},
        {&nccl->comm_destroy, "ncclCommDestroy"},
        {&nccl->comm_abort, "ncclCommAbort"},
        {&nccl->comm_get_async_error, "ncclCommGetAsyncError"},
        {&nccl->get_error_string, "ncclGetErrorString"},
        {&nccl->group_start, "ncclGroupStart"},
        {&nccl->group_end, "ncclGroupEnd"},
        {&nccl->send, "ncclSend"},
        {&nccl->recv, "ncclRecv"},
        {&nccl->all_gather, "ncclAllGather"},
    };

    if (!library)
        return dn_fail(err, DINO_EUNSUPPORTED, "no NCCL: %s", dlerror());
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        if (!(*(void **)wanted[i].function = dlsym(library, wanted[i].name))) {
            dlclose(library);
            return dn_fail(err, DINO_EUNSUPPORTED, "%s has no %s, wanted NCCL 2.7 or later",
                           name, wanted[i].name);
        }
    dlclose(library); /* it stays: RTLD_NODELETE */
    return true;
}

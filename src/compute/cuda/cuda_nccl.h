/*
 * The part of NCCL 2 that the device "cuda" uses, declared here because it is opened at run
 * time: the build needs no NCCL, and only processes that train together load it. Types and
 * values are those of nccl.h, which has kept them since 2.7.
 */
#ifndef COMPUTE_CUDA_NCCL_H
#define COMPUTE_CUDA_NCCL_H

#include <cuda_runtime_api.h>

#include "base/error.h"

typedef struct ncclComm *ncclComm_t;
typedef struct {
    char internal[128];
} ncclUniqueId;
enum { ncclSuccess = 0, ncclInProgress = 7 }; /* of what functions return */
enum { ncclInt8 = 0 };                        /* of data types */

struct nccl {
    int (*get_version)(int *version);
    int (*get_unique_id)(ncclUniqueId *id);
    int (*comm_init_rank)(ncclComm_t *comm, int size, ncclUniqueId id, int rank);
    int (*comm_destroy)(ncclComm_t comm);
    int (*comm_abort)(ncclComm_t comm);
    int (*comm_get_async_error)(ncclComm_t comm, int *error);
    const char *(*get_error_string)(int result);
    int (*group_start)(void);
    int (*group_end)(void);
    int (*send)(const void *from, size_t count, int dtype, int peer, ncclComm_t comm,
                cudaStream_t stream);
    int (*recv)(void *to, size_t count, int dtype, int peer, ncclComm_t comm,
                cudaStream_t stream);
    int (*all_gather)(const void *own, void *all, size_t count, int dtype, ncclComm_t comm,
                      cudaStream_t stream);
};

/* Open $DINO_NCCL, or libnccl.so.2 where the system finds it. It stays loaded. */
bool dn_nccl_open(struct nccl *nccl, struct dino_error *err);

#endif

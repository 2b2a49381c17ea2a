/* NCCL's functions for a test without GPUs: two ranks with the same numbers. Signatures as in nccl.h. */
#include <stddef.h>
#include <stdint.h>

typedef struct { char internal[128]; } ncclUniqueId;

static int communicator;

int cudaSetDevice(int device) { return device == 9 ? 101 : 0; }

int ncclGetUniqueId(ncclUniqueId *id) {
    for (int i = 0; i < 128; i++) id->internal[i] = (char)i;
    return 0;
}

int ncclCommInitRank(void **comm, int ranks, ncclUniqueId id, int rank) {
    for (int i = 0; i < 128; i++)
        if (id.internal[i] != (char)i) return 4;
    if (rank < 0 || rank >= ranks) return 4;
    *comm = &communicator;
    return 0;
}

int ncclAllReduce(const void *from, void *to, size_t count, int type, int operation, void *comm, void *stream) {
    if (comm != &communicator || operation != 0 || stream != NULL) return 4;
    for (size_t i = 0; i < count; i++) switch (type) {
        case 1: ((uint8_t *)to)[i] = 2 * ((const uint8_t *)from)[i]; break;
        case 4: ((int64_t *)to)[i] = 2 * ((const int64_t *)from)[i]; break;
        case 7: ((float *)to)[i] = 2 * ((const float *)from)[i]; break;
        default: return 4;
    }
    return 0;
}

int ncclCommDestroy(void *comm) { return comm == &communicator ? 0 : 4; }

const char *ncclGetErrorString(int status) { return status == 5 ? "invalid usage" : "invalid argument"; }

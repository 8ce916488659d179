// The kernel of `nms.cu` as host code.

#include "runner.h"

#include KERNELS

const Entry ENTRIES[] = {{"suppress", call<const NmsParams, suppress>}};

extern "C" int sizeof_params() { return sizeof(NmsParams); }

extern "C" int run_kernel(const char* name, int blocks_x, int blocks_y, int threads, const void* arguments, int reversed) {
    return run_entry(ENTRIES, sizeof(ENTRIES) / sizeof(Entry), name, blocks_x, blocks_y, threads, arguments, reversed);
}

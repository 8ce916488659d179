// Runs a kernel by name, block by block, as the launcher would start it on a GPU; a program lists its kernels in ENTRIES.
#pragma once

#include "shim.h"

template <typename Arguments, void (*kernel)(Arguments)>
void call(const void* arguments) {
    kernel(*static_cast<const Arguments*>(arguments));
}

struct Entry {
    const char* name;
    void (*body)(const void*);
};

// Returns 0, or 1 for an unknown kernel, or 2 if the threads of a block diverge at a barrier.
inline int run_entry(const Entry* entries, int num_entries, const char* name, int blocks_x, int blocks_y, int threads,
                     const void* arguments, int reversed) {
    for (int i = 0; i < num_entries; ++i) {
        const Entry& entry = entries[i];
        if (strcmp(entry.name, name) != 0) continue;
        host::body = entry.body;
        host::arguments = arguments;
        gridDim = {(unsigned int)blocks_x, (unsigned int)blocks_y, 1};
        blockDim = {(unsigned int)threads, 1, 1};
        for (int y = 0; y < blocks_y; ++y) {
            for (int x = 0; x < blocks_x; ++x) {
                blockIdx = {(unsigned int)x, (unsigned int)y, 0};
                if (!host::run_block(threads, reversed != 0)) return 2;
            }
        }
        return 0;
    }
    return 1;
}

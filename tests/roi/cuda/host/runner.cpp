// Runs a kernel of `roi_kernels.cu` by name, block by block, as the launcher would start it on a GPU.

#include "shim.h"

#include ROI_KERNELS

namespace {

template <typename Arguments, void (*kernel)(Arguments)>
void call(const void* arguments) {
    kernel(*static_cast<const Arguments*>(arguments));
}

struct Entry {
    const char* name;
    void (*body)(const void*);
};

const Entry ENTRIES[] = {
    {"roi_align_forward", call<const Params, roi_align_forward>},
    {"roi_align_forward_any_grid", call<const Params, roi_align_forward_any_grid>},
    {"roi_align_backward", call<const Params, roi_align_backward>},
    {"roi_pool_forward", call<const Params, roi_pool_forward>},
    {"roi_pool_backward", call<const Params, roi_pool_backward>},
    {"align_bitmaps", call<const BitmapParams, align_bitmaps>},
    {"place_regions", call<const Params, place_regions>},
    {"transpose", call<const TransposeParams, transpose>},
};

}  // namespace

extern "C" int sizeof_params() { return sizeof(Params); }
extern "C" int sizeof_bitmap_params() { return sizeof(BitmapParams); }
extern "C" int sizeof_transpose_params() { return sizeof(TransposeParams); }
extern "C" int sizeof_region_axes() { return sizeof(RegionAxes); }
extern "C" unsigned short to_element(float value) { return (unsigned short)from_float(value); }

// 0, or 1 for an unknown kernel, 2 where the threads of a block part at a barrier.
extern "C" int run_kernel(const char* name, int blocks_x, int blocks_y, int threads, const void* arguments, int reversed) {
    for (const Entry& entry : ENTRIES) {
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

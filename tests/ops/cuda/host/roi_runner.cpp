// The kernels of `roi_kernels.cu` as host code.

#include "runner.h"

#include KERNELS

const Entry ENTRIES[] = {
    {"roi_align_forward", call<const Params, roi_align_forward>},
    {"roi_align_forward_any_grid", call<const Params, roi_align_forward_any_grid>},
    {"roi_align_backward", call<const Params, roi_align_backward>},
    {"roi_pool_forward", call<const Params, roi_pool_forward>},
    {"roi_pool_backward", call<const Params, roi_pool_backward>},
    {"align_bitmaps", call<const BitmapParams, align_bitmaps>},
    {"find_tile_regions", call<const Params, find_tile_regions>},
    {"transpose", call<const TransposeParams, transpose>},
};


extern "C" int sizeof_params() { return sizeof(Params); }
extern "C" int sizeof_bitmap_params() { return sizeof(BitmapParams); }
extern "C" int sizeof_transpose_params() { return sizeof(TransposeParams); }
extern "C" int sizeof_region_axes() { return sizeof(RegionAxes); }
extern "C" unsigned short to_element(float value) { return (unsigned short)from_float(value); }

extern "C" int run_kernel(const char* name, int blocks_x, int blocks_y, int threads, const void* arguments, int reversed) {
    return run_entry(ENTRIES, sizeof(ENTRIES) / sizeof(Entry), name, blocks_x, blocks_y, threads, arguments, reversed);
}

// The kernels of `render.cu` as host code.

#include "runner.h"

#include KERNELS

const Entry ENTRIES[] = {
    {"render_bytes", call<const RenderParams, render_bytes>},
    {"render_floats", call<const RenderParams, render_floats>},
    {"sum_levels", call<const ColorParams, sum_levels>},
    {"sum_channels", call<const ColorParams, sum_channels>},
    {"change_colors", call<const ColorParams, change_colors>},
    {"change_channels", call<const ColorParams, change_channels>},
};

extern "C" int sizeof_params() { return sizeof(RenderParams); }
extern "C" int sizeof_color_params() { return sizeof(ColorParams); }
extern "C" int sizeof_placement() { return sizeof(Placement); }

extern "C" int run_kernel(const char* name, int blocks_x, int blocks_y, int threads, const void* arguments, int reversed) {
    return run_entry(ENTRIES, sizeof(ENTRIES) / sizeof(Entry), name, blocks_x, blocks_y, threads, arguments, reversed);
}

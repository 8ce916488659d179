// Decoded images: changes of their colors, and their rendering into the slots of a batch, for which each is cut,
// transposed, resized, flipped and padded.
//
// NVRTC compiles it at first use, without headers. Tests without a GPU compile the same text as host C++ with a shim.
//
// Rendering: a thread gathers one pixel of the batch, all channels: along x from each row of pixels that it needs, then along y
// from the results. Bytes are computed with integers and rounded after either step, so the bits are those of a CPU.
//
// Colors: a thread changes pixel after pixel of an image by the steps of that image, as torchvision does, and cuts off to
// bytes after each. A change of contrast needs a mean of the whole image after the steps before it, for which whole
// numbers are added up, in any order the same.
//
// Shapes: images of bytes are [N, H, W, C] in memory, those of floats [N, C, H, W].

constexpr int BLOCK = 256;  // threads

// Fields and order of `placements.Placement`.
struct Placement {
    long long first_byte;
    long long height, width;
    long long top, left;
    long long canvas_height, canvas_width;
    long long is_transposed, is_upside_down, is_mirrored;
    long long new_height, new_width;
    long long first_tap_y, taps_y, bits_y;
    long long first_tap_x, taps_x, bits_x;
};

struct RenderParams {
    const unsigned char* pixels;
    const Placement* placements;  // [N]
    const int* taps;
    const unsigned char* fill;  // [N, C]
    void* images;
    int num_channels;
    int height;
    int width;
};

// --- numbers ---------------------------------------------------------------------------------------------------------

// Weighted sum of bytes that is rounded to a byte.
struct ByteSum {
    typedef unsigned char Value;
    int total, bits;

    __device__ explicit ByteSum(int bits) : total(1 << bits >> 1), bits(bits) {}
    __device__ void add(int weight, Value value) { total += weight * value; }
    __device__ Value value() const {
        const int rounded = total >> bits;
        return (Value)(rounded < 0 ? 0 : rounded > 255 ? 255 : rounded);
    }
};

// Weighted sum of floats.
struct FloatSum {
    typedef float Value;
    float total, unit;

    __device__ explicit FloatSum(int bits) : total(0.0f), unit(1.0f / (1 << bits)) {}
    __device__ void add(int weight, Value value) { total += weight * unit * value; }
    __device__ Value value() const { return total; }
};

// --- taps ------------------------------------------------------------------------------------------------------------

// The pixels along one axis from which one new pixel is computed.
struct Taps {
    const int* weights;
    int first, count, bits;
};

__device__ inline Taps taps_of(const int* taps, long long first, long long count, long long bits, int position) {
    const int* row = taps + first + position * (count + 1);
    return {row + 1, row[0], (int)count, (int)bits};
}

// --- one pixel -------------------------------------------------------------------------------------------------------

// The pixels of an image on its transposed canvas.
struct Source {
    const unsigned char* pixels;  // the first one
    const unsigned char* fill;    // color of the canvas
    int top, left, height, width;
    long long bytes_of_row, bytes_of_column;
};

__device__ inline Source source_of(const Placement& image, const RenderParams& params, const unsigned char* fill) {
    const long long bytes_of_pixel = params.num_channels, bytes_of_line = image.width * bytes_of_pixel;
    const unsigned char* pixels = params.pixels + image.first_byte;
    if (image.is_transposed) {
        return {pixels,           fill,          (int)image.left, (int)image.top, (int)image.width, (int)image.height,
                bytes_of_pixel, bytes_of_line};
    }
    return {pixels,        fill,          (int)image.top, (int)image.left, (int)image.height, (int)image.width,
            bytes_of_line, bytes_of_pixel};
}

// Compute a channel of a new pixel.
template <typename Sum>
__device__ inline typename Sum::Value resized(const Source& source, const Taps& along_y, const Taps& along_x,
                                              int channel) {
    Sum sum(along_y.bits);
    for (int i = 0; i < along_y.count; ++i) {
        const int y = along_y.first + i - source.top;
        const bool has_row = y >= 0 && y < source.height;
        const unsigned char* row = source.pixels + (has_row ? y : 0) * source.bytes_of_row + channel;
        Sum of_row(along_x.bits);
        for (int j = 0; j < along_x.count; ++j) {
            const int x = along_x.first + j - source.left;
            const bool has_pixel = has_row && x >= 0 && x < source.width;
            of_row.add(along_x.weights[j], has_pixel ? row[x * source.bytes_of_column] : source.fill[channel]);
        }
        sum.add(along_y.weights[i], of_row.value());
    }
    return sum.value();
}

template <typename Sum>
__device__ inline void render(const RenderParams& params, long long step_of_pixel, long long step_of_channel) {
    typedef typename Sum::Value Value;
    const int position = blockIdx.x * BLOCK + threadIdx.x, num_pixels = params.height * params.width;
    if (position >= num_pixels) return;
    const Placement& image = params.placements[blockIdx.y];
    const unsigned char* fill = params.fill + (long long)blockIdx.y * params.num_channels;
    Value* target = (Value*)params.images + (long long)blockIdx.y * num_pixels * params.num_channels +
                    position * step_of_pixel;

    const int y = position / params.width, x = position % params.width;
    const int height = (int)image.new_height, width = (int)image.new_width;
    if (y >= height || x >= width) {
        for (int channel = 0; channel < params.num_channels; ++channel) target[channel * step_of_channel] = 0;
        return;
    }
    const Taps along_y = taps_of(params.taps, image.first_tap_y, image.taps_y, image.bits_y,
                                 image.is_upside_down ? height - 1 - y : y);
    const Taps along_x = taps_of(params.taps, image.first_tap_x, image.taps_x, image.bits_x,
                                 image.is_mirrored ? width - 1 - x : x);
    const Source source = source_of(image, params, fill);
    for (int channel = 0; channel < params.num_channels; ++channel) {
        target[channel * step_of_channel] = resized<Sum>(source, along_y, along_x, channel);
    }
}

extern "C" __global__ void __launch_bounds__(BLOCK) render_bytes(const RenderParams params) {
    render<ByteSum>(params, params.num_channels, 1);
}

extern "C" __global__ void __launch_bounds__(BLOCK) render_floats(const RenderParams params) {
    render<FloatSum>(params, 1, (long long)params.height * params.width);
}

// --- colors ----------------------------------------------------------------------------------------------------------

constexpr int NUM_COLORS = 3;

// Numbers of `color_steps.ColorKind`.
enum Kind { NOTHING, BRIGHTNESS, CONTRAST, SATURATION, HUE, ORDER, GRAY };

struct Step {
    double kind, value;  // as a CPU has them, so that 1 - value is rounded once
};

struct ColorParams {
    const unsigned char* pixels;
    const Placement* placements;  // [N]
    const Step* steps;            // [N, S]
    unsigned long long* sums;     // [N, S, C], zeros at first: the levels whose mean a change of contrast needs
    unsigned char* changed;
    int num_channels;
    int num_steps;  // S
    int step;       // of which `sum_levels` adds up the levels
};

// Round the product, never fuse it with a sum: torch does so on a CPU for the strides of a decoded image, except where it
// blends.
__device__ inline float product(float a, float b) {
#ifdef __CUDACC__
    return __fmul_rn(a, b);
#else
    return a * b;
#endif
}

// Levels from 0 to 255.
struct Color {
    int r, g, b;
};

__device__ inline int to_level(float value) { return (int)fminf(fmaxf(value, 0.0f), 255.0f); }

// Mix a level with another one.
__device__ inline int blend(int level, float other, double share) {
    return to_level(fmaf(other, (float)(1.0 - share), product(level, (float)share)));
}

__device__ inline Color blend(const Color& color, float other, double share) {
    return {blend(color.r, other, share), blend(color.g, other, share), blend(color.b, other, share)};
}

__device__ inline int gray_of(const Color& color) {
    return (int)(product(color.r, 0.2989f) + product(color.g, 0.587f) + product(color.b, 0.114f));
}

// Bring the hue into [0, 1).
__device__ inline float whole_turn(float hue) { return hue - floorf(hue); }

// Shift the hue, by the steps of torchvision from RGB to HSV and back.
__device__ inline Color shift_hue(const Color& color, float shift) {
    const float unit = (float)(1.0 / 255.0), white = (float)(256.0 - 1e-3);
    const float r = product(color.r, unit), g = product(color.g, unit), b = product(color.b, unit);
    const float v = fmaxf(r, fmaxf(g, b)), range = v - fminf(r, fminf(g, b));
    const float saturation = range / (range == 0 ? 1.0f : v), divisor = range == 0 ? 1.0f : range;
    const float rc = (v - r) / divisor, gc = (v - g) / divisor, bc = (v - b) / divisor;
    const float sixth = v == r ? bc - gc : v == g ? rc + 2.0f - bc : gc + 4.0f - rc;
    const float turn = whole_turn(whole_turn(product(sixth, (float)(1.0 / 6.0)) + 1.0f) + shift);
    const float sixths = product(turn, 6.0f);

    const float whole = floorf(sixths), part = product(saturation, sixths - whole), rest = 1.0f - saturation;
    const int sector = (int)whole % 6;
    const int high = (int)(v * white), low = (int)(fmaxf(rest * v, 0.0f) * white);
    const int falling = (int)(fmaxf((1.0f - part) * v, 0.0f) * white);
    const int rising = (int)(fminf((part + rest) * v, 1.0f) * white);
    if (sector == 0) return {high, rising, low};
    if (sector == 1) return {falling, high, low};
    if (sector == 2) return {low, high, rising};
    if (sector == 3) return {low, falling, high};
    if (sector == 4) return {rising, low, high};
    return {high, low, falling};
}

// Take the channels in an order of `color_steps.CHANNEL_ORDERS`.
__device__ inline Color reordered(const Color& color, int order) {
    if (order == 1) return {color.r, color.b, color.g};
    if (order == 2) return {color.g, color.r, color.b};
    if (order == 3) return {color.g, color.b, color.r};
    if (order == 4) return {color.b, color.r, color.g};
    return order == 5 ? Color{color.b, color.g, color.r} : color;
}

// Apply the first `num_steps` steps of an image to a pixel of three colors.
__device__ inline Color after_steps(Color color, const Step* steps, const unsigned long long* sums, float share_of_pixel,
                                    int num_steps) {
    for (int i = 0; i < num_steps; ++i) {
        const int kind = (int)steps[i].kind;
        const double exact = steps[i].value;
        const float value = (float)exact;
        if (kind == BRIGHTNESS) {
            color = {to_level(color.r * value), to_level(color.g * value), to_level(color.b * value)};
        } else if (kind == CONTRAST) {
            color = blend(color, sums[i * NUM_COLORS] * share_of_pixel, exact);
        } else if (kind == SATURATION) {
            color = blend(color, (float)gray_of(color), exact);
        } else if (kind == HUE) {
            color = shift_hue(color, value);
        } else if (kind == ORDER) {
            color = reordered(color, (int)value);
        } else if (kind == GRAY) {
            const int gray = gray_of(color);
            color = {gray, gray, gray};
        }
    }
    return color;
}

// Apply the first `num_steps` steps of an image to one channel of many: brightness and contrast.
__device__ inline int after_steps(int level, const Step* steps, const unsigned long long* sums, float share_of_pixel,
                                  int num_steps, int num_channels, int channel) {
    for (int i = 0; i < num_steps; ++i) {
        const int kind = (int)steps[i].kind;
        if (kind == BRIGHTNESS) level = to_level(level * (float)steps[i].value);
        if (kind == CONTRAST) level = blend(level, sums[i * num_channels + channel] * share_of_pixel, steps[i].value);
    }
    return level;
}

__device__ inline Color color_at(const unsigned char* pixels, long long position) {
    const unsigned char* pixel = pixels + position * NUM_COLORS;
    return {pixel[0], pixel[1], pixel[2]};
}

// Add up numbers of all threads of a block, and add the sum to a number in memory.
__device__ inline void add_up(unsigned long long own, unsigned long long* target) {
    __shared__ unsigned long long parts[BLOCK];
    parts[threadIdx.x] = own;
    __syncthreads();
    for (int half = BLOCK / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) parts[threadIdx.x] += parts[threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x == 0) atomicAdd(target, parts[0]);
    __syncthreads();
}

// The steps, the sums and the pixels of an image of which a thread reads some; images are along y, and blocks along x
// share the pixels of one.
struct ColorWork {
    const Step* steps;
    unsigned long long* sums;
    const unsigned char* pixels;
    unsigned char* changed;
    long long first, num_pixels, stride;
    float share_of_pixel;
};

__device__ inline ColorWork work_of(const ColorParams& params) {
    const long long first_step = (long long)blockIdx.y * params.num_steps;
    const Placement& image = params.placements[blockIdx.y];
    return {params.steps + first_step,
            params.sums + first_step * params.num_channels,
            params.pixels + image.first_byte,
            params.changed + image.first_byte,
            (long long)blockIdx.x * BLOCK + threadIdx.x,
            image.height * image.width,
            (long long)gridDim.x * BLOCK,
            1.0f / (float)(image.height * image.width)};
}

extern "C" __global__ void __launch_bounds__(BLOCK) sum_levels(const ColorParams params) {
    const ColorWork work = work_of(params);
    if ((int)work.steps[params.step].kind != CONTRAST) return;
    unsigned int sum = 0;  // of one thread's share
    for (long long i = work.first; i < work.num_pixels; i += work.stride) {
        const Color color = color_at(work.pixels, i);
        sum += gray_of(after_steps(color, work.steps, work.sums, work.share_of_pixel, params.step));
    }
    add_up(sum, work.sums + params.step * NUM_COLORS);
}

// A block reads one channel.
extern "C" __global__ void __launch_bounds__(BLOCK) sum_channels(const ColorParams params) {
    const ColorWork work = work_of(params);
    if ((int)work.steps[params.step].kind != CONTRAST) return;
    const int channels = params.num_channels, channel = blockIdx.x % channels;
    const long long stride = (long long)(gridDim.x / channels) * BLOCK;
    unsigned int sum = 0;
    for (long long i = (long long)(blockIdx.x / channels) * BLOCK + threadIdx.x; i < work.num_pixels; i += stride) {
        const int level = work.pixels[i * channels + channel];
        sum += after_steps(level, work.steps, work.sums, work.share_of_pixel, params.step, channels, channel);
    }
    add_up(sum, work.sums + params.step * channels + channel);
}

extern "C" __global__ void __launch_bounds__(BLOCK) change_colors(const ColorParams params) {
    const ColorWork work = work_of(params);
    for (long long i = work.first; i < work.num_pixels; i += work.stride) {
        const Color color = color_at(work.pixels, i);
        const Color result = after_steps(color, work.steps, work.sums, work.share_of_pixel, params.num_steps);
        unsigned char* pixel = work.changed + i * NUM_COLORS;
        pixel[0] = (unsigned char)result.r;
        pixel[1] = (unsigned char)result.g;
        pixel[2] = (unsigned char)result.b;
    }
}

extern "C" __global__ void __launch_bounds__(BLOCK) change_channels(const ColorParams params) {
    const ColorWork work = work_of(params);
    const int channels = params.num_channels;
    for (long long i = work.first; i < work.num_pixels; i += work.stride) {
        for (int channel = 0; channel < channels; ++channel) {
            const int level = work.pixels[i * channels + channel];
            work.changed[i * channels + channel] = (unsigned char)after_steps(
                level, work.steps, work.sums, work.share_of_pixel, params.num_steps, channels, channel);
        }
    }
}

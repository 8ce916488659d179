// RoIAlign and RoIPool over a feature pyramid of channels-last maps, forward and backward; RoIAlign of packed bitmaps.
//
// NVRTC compiles it at first use, without headers, for one element type and one vector width:
//     ELEMENT_FLOAT32, ELEMENT_FLOAT16 or ELEMENT_BFLOAT16    type of features and gradients; sums are float32
//     VECTOR                                                  number of channels that a thread handles together
// Tests without a GPU compile the same text as host C++ with a shim. For that, every thread of a block reaches every
// barrier, and __CUDACC__ guards what only a GPU has.
//
// Shapes: regions are float32 [R, 5] (image, x1, y1, x2, y2) in pixels of the network's input; features and their
// gradients are [N, H, W, C] for each level; pooled values are [R, pooled_height, pooled_width, C].
//
// The backward kernels gather. A block owns a tile of a gradient map, reads the regions that touch it in order and
// writes each pixel once: no atomics, no zeros to fill in first, the same bits on every run.

#if defined(ELEMENT_FLOAT32)
typedef float Element;
#else
typedef unsigned short Element;
#endif

constexpr int MAX_LEVELS = 8;
constexpr int MAX_BINS = 64;        // bins along each side of a region
constexpr int BLOCK = 256;          // threads of every block
constexpr int TILE = 8;             // pixels along each side of a tile: one warp for each line of pixels
constexpr int LANES = 32;           // threads of a warp
constexpr int WORD = 32;            // regions in one word of a tile's mask
constexpr int SEGMENT_WORDS = 128;  // words of the mask that a block unpacks at a time
#if VECTOR > 4 || (defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900)
constexpr int RESIDENT = 2;  // blocks of a backward kernel for which one multiprocessor has registers
#else
constexpr int RESIDENT = 3;
#endif
constexpr int TABLE = 256;          // bins, along both axes together, of one batch of regions

struct RegionAxes;

struct Level {
    Element* pixels;  // features in the forward direction, their gradient in the backward
    int height;
    int width;
    int tiles_y;
    int tiles_x;
    int first_tile;  // index of this level's first tile among all; tiles are numbered image by image
    float scale;  // size of the map over the size of the input
};

struct Params {
    Level levels[MAX_LEVELS];
    const float* rois;
    const long long* roi_levels;  // level of each region; null if the kernel assigns levels
    Element* pooled;              // result in the forward direction, its gradient in the backward
    int* argmax;                  // RoIPool: pixel y * width + x of each maximum, -1 for an empty bin
    unsigned int* tile_masks;     // backward: [words, tiles], which regions touch a tile
    RegionAxes* axes;             // backward: position of each region on its map
    int num_levels;
    int num_images;
    int num_channels;
    int num_rois;
    int num_tiles;
    int pooled_height;
    int pooled_width;
    int sampling_ratio;
    int aligned;
    int finest_level;
    int canonical_level;
    float canonical_size;
    int is_pooling;  // RoIPool, not RoIAlign
};

// --- numbers ---------------------------------------------------------------------------------------------------------

struct alignas(VECTOR * sizeof(Element)) Vector {
    Element lanes[VECTOR];
};

__device__ inline float bits_to_float(unsigned int bits) {
#ifdef __CUDACC__
    return __uint_as_float(bits);
#else
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
#endif
}

__device__ inline unsigned int float_to_bits(float value) {
#ifdef __CUDACC__
    return __float_as_uint(value);
#else
    unsigned int bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
#endif
}

#if defined(ELEMENT_FLOAT32)

__device__ inline float to_float(Element element) { return element; }
__device__ inline Element from_float(float value) { return value; }

#elif defined(ELEMENT_BFLOAT16)

__device__ inline float to_float(Element element) { return bits_to_float((unsigned int)element << 16); }

__device__ inline Element from_float(float value) {
    const unsigned int bits = float_to_bits(value);
    if (value != value) return 0x7fc0;
    return (Element)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);  // to nearest, ties to even
}

#elif defined(ELEMENT_FLOAT16)

#ifdef __CUDACC__

__device__ inline float to_float(Element element) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(element));
    return value;
}

__device__ inline Element from_float(float value) {
    Element element;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(element) : "f"(value));
    return element;
}

#else

__device__ inline float to_float(Element element) {
    const unsigned int sign = (element & 0x8000u) << 16, exponent = (element >> 10) & 31, mantissa = element & 0x3ffu;
    if (exponent == 31) return bits_to_float(sign | 0x7f800000u | mantissa << 13);
    if (exponent == 0) return (sign ? -1.0f : 1.0f) * (float)mantissa * (1.0f / 16777216.0f);
    return bits_to_float(sign | (exponent + 112) << 23 | mantissa << 13);
}

__device__ inline Element from_float(float value) {
    const unsigned int sign = float_to_bits(value) >> 16 & 0x8000u;
    const float magnitude = value < 0 ? -value : value;
    if (value != value) return 0x7fff;
    if (magnitude >= 65520.0f) return (Element)(sign | 0x7c00u);
    if (magnitude < 6.103515625e-05f) {  // denormal: adding 0.5 leaves units of 2^-24 in the last bits, rounded
        return (Element)(sign | (float_to_bits(magnitude + 0.5f) - float_to_bits(0.5f)));
    }
    const unsigned int bits = float_to_bits(magnitude) - (112u << 23);
    return (Element)(sign | (bits + 0xfff + ((bits >> 13) & 1)) >> 13);
}

#endif
#endif

__device__ inline Vector load(const Element* address) { return *reinterpret_cast<const Vector*>(address); }

__device__ inline void store(Element* address, const float values[VECTOR]) {
    Vector vector;
#pragma unroll
    for (int lane = 0; lane < VECTOR; ++lane) vector.lanes[lane] = from_float(values[lane]);
    *reinterpret_cast<Vector*>(address) = vector;
}

__device__ inline void add_scaled(float sum[VECTOR], float weight, const Vector& vector) {
#pragma unroll
    for (int lane = 0; lane < VECTOR; ++lane) sum[lane] += weight * to_float(vector.lanes[lane]);
}

// --- position of a region --------------------------------------------------------------------------------------------

struct Region {
    bool valid;  // has an existing image, an existing level and finite corners
    int image;
    int level;
    float x1, y1, x2, y2;  // in pixels of the level's map
};

__device__ inline int assign_level(const Params& params, float width, float height) {
    if (!(width > 0 && height > 0)) return 0;
    const float relative_size = sqrtf(width * height) / params.canonical_size;
    const float target = floorf(params.canonical_level + log2f(relative_size) + 1e-6f);
    const float coarsest = params.finest_level + params.num_levels - 1;
    return (int)fminf(fmaxf(target, params.finest_level), coarsest) - params.finest_level;
}

__device__ inline Region read_region(const Params& params, int roi) {
    const float* corners = params.rois + (long long)roi * 5;
    const float image = corners[0], x1 = corners[1], y1 = corners[2], x2 = corners[3], y2 = corners[4];
    Region region = {};
    // Far beyond any map, but differences are still finite; a NaN fails every comparison.
    const float limit = 1e30f;
    region.valid = image >= 0 && image < params.num_images && x1 >= -limit && x1 <= limit && y1 >= -limit &&
                   y1 <= limit && x2 >= -limit && x2 <= limit && y2 >= -limit && y2 <= limit;
    if (!region.valid) return region;
    const long long level = params.roi_levels ? params.roi_levels[roi] : assign_level(params, x2 - x1, y2 - y1);
    region.valid = level >= 0 && level < params.num_levels;
    if (!region.valid) return region;
    const float scale = params.levels[level].scale;
    region.image = (int)image;
    region.level = (int)level;
    region.x1 = x1 * scale;
    region.y1 = y1 * scale;
    region.x2 = x2 * scale;
    region.y2 = y2 * scale;
    return region;
}

// --- a region along one axis -----------------------------------------------------------------------------------------

struct Axis {
    float roi_start;
    float bin_size;
    float bin_grid;       // number of samples of a bin; only for RoIAlign, as are the next three
    float sample_weight;  // weight of one sample in its bin
    float step;           // distance between samples
    float slack;          // upper bound of the rounding error of a sample's position
    int num_bins;
    int size;  // pixels of the map
};

__device__ inline Axis align_axis(const Params& params, float start, float end, int num_bins, int size) {
    Axis axis;
    const float offset = params.aligned ? 0.5f : 0.0f;
    float roi_length = (end - offset) - (start - offset);
    if (!params.aligned) roi_length = fmaxf(roi_length, 1.0f);
    axis.roi_start = start - offset;
    axis.bin_size = roi_length / num_bins;
    axis.bin_grid = params.sampling_ratio > 0 ? params.sampling_ratio : ceilf(axis.bin_size);
    axis.sample_weight = 1.0f / axis.bin_grid;
    axis.step = axis.bin_size * axis.sample_weight;
    axis.slack = 0.01f + 1e-6f * (fabsf(start) + fabsf(end));
    axis.num_bins = num_bins;
    axis.size = size;
    return axis;
}

// RoIPool rounds corners to whole pixels, both of which belong to the region.
__device__ inline Axis pool_axis(float start, float end, int num_bins, int size) {
    const float limit = 16777216.0f;  // whole pixels are exact up to here
    Axis axis = {};
    axis.roi_start = roundf(fminf(fmaxf(start, -limit), limit));
    const float roi_end = roundf(fminf(fmaxf(end, -limit), limit));
    axis.bin_size = fmaxf(roi_end - axis.roi_start + 1.0f, 1.0f) / num_bins;
    axis.num_bins = num_bins;
    axis.size = size;
    return axis;
}

__device__ inline Axis axis_y(const Params& params, const Region& region, bool is_pooling) {
    const int num_bins = params.pooled_height, size = params.levels[region.level].height;
    return is_pooling ? pool_axis(region.y1, region.y2, num_bins, size)
                      : align_axis(params, region.y1, region.y2, num_bins, size);
}

__device__ inline Axis axis_x(const Params& params, const Region& region, bool is_pooling) {
    const int num_bins = params.pooled_width, size = params.levels[region.level].width;
    return is_pooling ? pool_axis(region.x1, region.x2, num_bins, size)
                      : align_axis(params, region.x1, region.x2, num_bins, size);
}

struct RegionAxes {
    Axis y, x;
};

// Pixels, bins or tiles [begin, end).
struct Span {
    int begin, end;
};

// Compute the pixels that a region can touch, or a few more.
__device__ inline Span footprint(const Axis& axis) {
    Span span = {0, 0};
    const float roi_end = axis.roi_start + axis.num_bins * axis.bin_size;
    const float from = fminf(axis.roi_start, roi_end) - axis.slack, to = fmaxf(axis.roi_start, roi_end) + axis.slack;
    if (!(to >= -1.0f && from <= axis.size)) return span;
    span.begin = (int)fminf(fmaxf(floorf(from), 0.0f), axis.size - 1.0f);
    span.end = (int)fminf(fmaxf(floorf(to) + 2.0f, 0.0f), (float)axis.size);
    return span;
}

// Compute the bins that can touch the pixels from `first` to `last`, or a few more.
__device__ inline Span bins_touching(const Axis& axis, int first, int last) {
    Span bins = {0, axis.num_bins};
    if (!(axis.bin_size > 1e-3f)) return bins;  // flat or inverted
    const float per_bin = 1.0f / axis.bin_size;
    const float begin = floorf((first - 1.0f - axis.slack - axis.roi_start) * per_bin);
    const float end = ceilf((last + 1.0f + axis.slack - axis.roi_start) * per_bin);
    // Samples before the center of the first pixel, or past that of the last, are moved onto the map.
    if (first > 0) bins.begin = (int)fminf(fmaxf(begin, 0.0f), (float)axis.num_bins);
    if (last < axis.size - 1) bins.end = (int)fminf(fmaxf(end, 0.0f), (float)axis.num_bins);
    return bins;
}

// --- weights of RoIAlign -----------------------------------------------------------------------------------------

// A sample between two pixels. Both weights are 0 outside [-1, size]; at the borders only the low weight is not 0.
struct Tap {
    int low, high;
    float weight_low, weight_high;
};

__device__ inline Tap locate(const Axis& axis, int bin, float sample) {
    Tap tap = {0, 0, 0.0f, 0.0f};
    float position = axis.roi_start + bin * axis.bin_size + (sample + 0.5f) * axis.step;
    if (!(position >= -1.0f && position <= axis.size) || axis.size == 0) return tap;
    position = fmaxf(position, 0.0f);
    tap.low = (int)position;
    if (tap.low >= axis.size - 1) {
        tap.low = tap.high = axis.size - 1;
        tap.weight_low = axis.sample_weight;
        return tap;
    }
    const float fraction = position - tap.low;
    tap.high = tap.low + 1;
    tap.weight_low = (1.0f - fraction) * axis.sample_weight;
    tap.weight_high = fraction * axis.sample_weight;
    return tap;
}

// Samples of a bin that may lie between two positions: all samples of a fixed grid; of an adaptive grid, whose samples
// are half a pixel to a pixel apart (or just one), only those close to the positions.
struct SampleRange {
    float first;
    int count;
};

__device__ inline SampleRange samples_between(const Axis& axis, int bin, float from, float to, int sampling_ratio) {
    SampleRange range = {0.0f, sampling_ratio};
    if (sampling_ratio > 0) return range;
    range.count = 0;
    if (!(axis.bin_grid >= 1)) return range;  // an inverted box
    const float bin_start = axis.roi_start + bin * axis.bin_size;
    const float per_sample = 1.0f / axis.step;
    const float first = floorf((from - bin_start) * per_sample - 1.5f);
    const float last = ceilf((to - bin_start) * per_sample + 0.5f);
    range.first = fminf(fmaxf(first, 0.0f), axis.bin_grid);
    const float count = fminf(last, axis.bin_grid - 1) - range.first + 1;
    range.count = (int)fminf(fmaxf(count, 0.0f), 2.0f * axis.size + 8.0f);
    return range;
}

// Compute the weight of a pixel in a bin along one axis.
__device__ inline float pixel_weight(const Axis& axis, int bin, int pixel, int sampling_ratio) {
    const float from = pixel == 0 ? -1.0f : pixel - 1.0f;
    const float to = pixel == axis.size - 1 ? axis.size : pixel + 1.0f;
    const SampleRange samples = samples_between(axis, bin, from, to, sampling_ratio);
    float weight = 0.0f;
#pragma unroll 1  // saves registers for the sums
    for (int i = 0; i < samples.count; ++i) {
        const Tap tap = locate(axis, bin, samples.first + i);
        if (tap.low == pixel) weight += tap.weight_low;
        if (tap.high == pixel) weight += tap.weight_high;
    }
    return weight;
}

// --- RoIAlign, forward -----------------------------------------------------------------------------------------------
// A block pools one region. Its threads divide the pairs (bin, vector of channels), vectors first, so that a warp reads
// contiguous memory and neighboring bins find their pixels in the cache. blockIdx.y divides the pairs among blocks.

constexpr int MAX_PIXELS = 4;  // pixels of a bin with up to two samples, along one axis

struct BinPixels {
    int count;
    int pixel[MAX_PIXELS];
    float weight[MAX_PIXELS];
};

// Compute the pixels under a bin with one or two samples; pixels that samples share appear once.
__device__ inline void merge_samples(const Axis& axis, int bin, int sampling_ratio, BinPixels& merged) {
    merged.count = 0;
    for (int sample = 0; sample < sampling_ratio; ++sample) {
        const Tap tap = locate(axis, bin, (float)sample);
        for (int side = 0; side < 2; ++side) {
            const int pixel = side ? tap.high : tap.low;
            const float weight = side ? tap.weight_high : tap.weight_low;
            if (weight == 0) continue;
            int entry = 0;
            while (entry < merged.count && merged.pixel[entry] != pixel) ++entry;
            if (entry == merged.count) {
                merged.pixel[entry] = pixel;
                merged.weight[entry] = 0.0f;
                ++merged.count;
            }
            merged.weight[entry] += weight;
        }
    }
}

// RoIAlign with one or two samples a side: each pixel under a bin is read once.
extern "C" __global__ void __launch_bounds__(BLOCK) roi_align_forward(const Params params) {
    __shared__ BinPixels lines[MAX_BINS];
    __shared__ BinPixels columns[MAX_BINS];
    const int roi = blockIdx.x;
    const Region region = read_region(params, roi);
    if (region.valid) {
        const Axis y = axis_y(params, region, false), x = axis_x(params, region, false);
        for (int bin = threadIdx.x; bin < y.num_bins + x.num_bins; bin += BLOCK) {
            if (bin < y.num_bins) {
                merge_samples(y, bin, params.sampling_ratio, lines[bin]);
            } else {
                merge_samples(x, bin - y.num_bins, params.sampling_ratio, columns[bin - y.num_bins]);
            }
        }
    }
    __syncthreads();

    const Level& level = params.levels[region.level];
    const int num_bins = params.pooled_height * params.pooled_width;
    const int vectors = params.num_channels / VECTOR;
    const long long line_stride = (long long)level.width * params.num_channels;
    const Element* image = level.pixels + region.image * level.height * line_stride;
    Element* pooled = params.pooled + (long long)roi * num_bins * params.num_channels;
    for (int item = blockIdx.y * BLOCK + threadIdx.x; item < num_bins * vectors; item += gridDim.y * BLOCK) {
        const int bin = item / vectors;
        const int channel = (item - bin * vectors) * VECTOR;
        float sum[VECTOR] = {};
        if (region.valid) {
            const BinPixels& in_y = lines[bin / params.pooled_width];
            const BinPixels& in_x = columns[bin % params.pooled_width];
            for (int i = 0; i < in_y.count; ++i) {
                const Element* line = image + in_y.pixel[i] * line_stride + channel;
                Vector vector[MAX_PIXELS];
#pragma unroll
                for (int j = 0; j < MAX_PIXELS; ++j) {  // issue all reads of a line before the first is used
                    if (j < in_x.count) vector[j] = load(line + (long long)in_x.pixel[j] * params.num_channels);
                }
#pragma unroll
                for (int j = 0; j < MAX_PIXELS; ++j) {
                    if (j < in_x.count) add_scaled(sum, in_y.weight[i] * in_x.weight[j], vector[j]);
                }
            }
        }
        store(pooled + (long long)bin * params.num_channels + channel, sum);
    }
}

// RoIAlign with any grid, also adaptive.
extern "C" __global__ void __launch_bounds__(BLOCK, 3) roi_align_forward_any_grid(const Params params) {
    const int roi = blockIdx.x;
    const Region region = read_region(params, roi);
    const Axis y = axis_y(params, region, false), x = axis_x(params, region, false);
    const Level& level = params.levels[region.level];
    const int num_bins = params.pooled_height * params.pooled_width;
    const int vectors = params.num_channels / VECTOR;
    const long long line_stride = (long long)level.width * params.num_channels;
    const Element* image = level.pixels + region.image * level.height * line_stride;
    Element* pooled = params.pooled + (long long)roi * num_bins * params.num_channels;
    for (int item = blockIdx.y * BLOCK + threadIdx.x; item < num_bins * vectors; item += gridDim.y * BLOCK) {
        const int bin = item / vectors, bin_y = bin / params.pooled_width, bin_x = bin - bin_y * params.pooled_width;
        const int channel = (item - bin * vectors) * VECTOR;
        float sum[VECTOR] = {};
        SampleRange samples_y = samples_between(y, bin_y, -1.0f, y.size, params.sampling_ratio);
        const SampleRange samples_x = samples_between(x, bin_x, -1.0f, x.size, params.sampling_ratio);
        if (!region.valid) samples_y.count = 0;
        for (int i = 0; i < samples_y.count; ++i) {
            const Tap in_y = locate(y, bin_y, samples_y.first + i);
            if (in_y.weight_low == 0 && in_y.weight_high == 0) continue;
            const Element* low_line = image + in_y.low * line_stride + channel;
            const Element* high_line = image + in_y.high * line_stride + channel;
            for (int j = 0; j < samples_x.count; ++j) {
                const Tap in_x = locate(x, bin_x, samples_x.first + j);
                if (in_x.weight_low == 0 && in_x.weight_high == 0) continue;
                const long long low = (long long)in_x.low * params.num_channels;
                const long long high = (long long)in_x.high * params.num_channels;
                const Vector low_low = load(low_line + low), low_high = load(low_line + high);
                const Vector high_low = load(high_line + low), high_high = load(high_line + high);
                add_scaled(sum, in_y.weight_low * in_x.weight_low, low_low);
                add_scaled(sum, in_y.weight_low * in_x.weight_high, low_high);
                add_scaled(sum, in_y.weight_high * in_x.weight_low, high_low);
                add_scaled(sum, in_y.weight_high * in_x.weight_high, high_high);
            }
        }
        store(pooled + (long long)bin * params.num_channels + channel, sum);
    }
}

// --- RoIPool, forward ------------------------------------------------------------------------------------------------
// The work is divided as in RoIAlign.

__device__ inline Span bin_pixels(const Axis& axis, int bin) {
    Span span;
    span.begin = (int)fminf(fmaxf(floorf(bin * axis.bin_size) + axis.roi_start, 0.0f), (float)axis.size);
    span.end = (int)fminf(fmaxf(ceilf((bin + 1) * axis.bin_size) + axis.roi_start, 0.0f), (float)axis.size);
    return span;
}

extern "C" __global__ void __launch_bounds__(BLOCK, 3) roi_pool_forward(const Params params) {
    const int roi = blockIdx.x;
    const Region region = read_region(params, roi);
    const Axis y = axis_y(params, region, true), x = axis_x(params, region, true);
    const Level& level = params.levels[region.level];
    const int num_bins = params.pooled_height * params.pooled_width;
    const int vectors = params.num_channels / VECTOR;
    const long long line_stride = (long long)level.width * params.num_channels;
    const Element* image = level.pixels + region.image * level.height * line_stride;
    const long long first_output = (long long)roi * num_bins * params.num_channels;
    for (int item = blockIdx.y * BLOCK + threadIdx.x; item < num_bins * vectors; item += gridDim.y * BLOCK) {
        const int bin = item / vectors, bin_y = bin / params.pooled_width, bin_x = bin - bin_y * params.pooled_width;
        const int channel = (item - bin * vectors) * VECTOR;
        const Span lines = bin_pixels(y, bin_y), columns = bin_pixels(x, bin_x);
        const bool is_empty = !region.valid || lines.end <= lines.begin || columns.end <= columns.begin;
        float maximum[VECTOR];
        int argmax[VECTOR];
#pragma unroll
        for (int lane = 0; lane < VECTOR; ++lane) {
            maximum[lane] = is_empty ? 0.0f : -3.402823466e38f;
            argmax[lane] = -1;
        }
        for (int line = lines.begin; !is_empty && line < lines.end; ++line) {
            for (int column = columns.begin; column < columns.end; ++column) {
                const Vector vector = load(image + line * line_stride + (long long)column * params.num_channels + channel);
#pragma unroll
                for (int lane = 0; lane < VECTOR; ++lane) {
                    const float value = to_float(vector.lanes[lane]);
                    if (value > maximum[lane]) {
                        maximum[lane] = value;
                        argmax[lane] = line * level.width + column;
                    }
                }
            }
        }
        const long long output = first_output + (long long)bin * params.num_channels + channel;
        store(params.pooled + output, maximum);
#pragma unroll
        for (int lane = 0; lane < VECTOR; ++lane) params.argmax[output + lane] = argmax[lane];
    }
}

// --- RoIAlign of packed bitmaps ---------------------------------------------------------------------------------------
// One thread computes one cell of a region's grid, in pixels of the bitmap with an adaptive number of samples. The half
// pixel and the minimum size of regions that are not aligned refer to pixels of the resized frame.

struct BitmapParams {
    const unsigned char* bits;    // concatenated crops, eight pixels a byte, the first in the highest bit
    const long long* first_byte;  // [N, M], first byte of each crop
    const long long* sizes;       // [N, M, 2], height and width of each crop, pixels
    const float* crop_boxes;      // [N, M, 4] in the resized frame
    const float* boxes;           // [N, R, 4] in the resized frame
    const long long* gt_index;    // [N, R], object of each region
    const bool* is_valid;         // [N, R]
    float* targets;               // [N, R, size, size]
    int num_objects;              // M
    int num_regions;              // R
    int size;
    int aligned;
};

__device__ inline Axis bitmap_axis(float start, float end, float crop_start, float crop_end, int pixels, int num_bins,
                                   bool aligned) {
    Axis axis = {};
    const float scale = pixels / (crop_end - crop_start);
    const float length = aligned ? end - start : fmaxf(end - start, 1.0f);
    axis.roi_start = (start - crop_start + (aligned ? 0.0f : 0.5f)) * scale - 0.5f;
    axis.bin_size = length * scale / num_bins;
    axis.bin_grid = ceilf(axis.bin_size);
    axis.sample_weight = 1.0f / axis.bin_grid;
    axis.step = axis.bin_size * axis.sample_weight;
    axis.num_bins = num_bins;
    axis.size = pixels;
    return axis;
}

struct Bitmap {
    const unsigned char* bits;
    int width;

    __device__ float at(int y, int x) const {
        const long long pixel = (long long)y * width + x;
        return (float)(bits[pixel >> 3] >> (7 - (pixel & 7)) & 1);
    }
};

extern "C" __global__ void __launch_bounds__(BLOCK) align_bitmaps(const BitmapParams params) {
    const long long region = blockIdx.x;
    const int cell = blockIdx.y * BLOCK + threadIdx.x, num_cells = params.size * params.size;
    if (cell >= num_cells) return;
    const long long index = params.gt_index[region];
    const float* box = params.boxes + region * 4;
    const float x1 = box[0], y1 = box[1], x2 = box[2], y2 = box[3];
    const float limit = 1073741824.0f;  // FARTHEST_CORNER; a NaN fails every comparison
    float sum = 0.0f;
    if (params.is_valid[region] && index >= 0 && index < params.num_objects && fabsf(x1) <= limit &&
        fabsf(y1) <= limit && fabsf(x2) <= limit && fabsf(y2) <= limit) {
        const long long object = region / params.num_regions * params.num_objects + index;
        const int height = (int)params.sizes[object * 2], width = (int)params.sizes[object * 2 + 1];
        const float* crop = params.crop_boxes + object * 4;
        const Bitmap bitmap = {params.bits + params.first_byte[object], width};
        const Axis y = bitmap_axis(y1, y2, crop[1], crop[3], height, params.size, params.aligned);
        const Axis x = bitmap_axis(x1, x2, crop[0], crop[2], width, params.size, params.aligned);
        const int bin_y = cell / params.size, bin_x = cell - bin_y * params.size;
        SampleRange samples_y = samples_between(y, bin_y, -1.0f, height, 0);
        const SampleRange samples_x = samples_between(x, bin_x, -1.0f, width, 0);
        if (height == 0 || width == 0) samples_y.count = 0;  // an object without a mask
        for (int i = 0; i < samples_y.count; ++i) {
            const Tap in_y = locate(y, bin_y, samples_y.first + i);
            if (in_y.weight_low == 0 && in_y.weight_high == 0) continue;
            for (int j = 0; j < samples_x.count; ++j) {
                const Tap in_x = locate(x, bin_x, samples_x.first + j);
                if (in_x.weight_low == 0 && in_x.weight_high == 0) continue;
                sum += in_y.weight_low * (in_x.weight_low * bitmap.at(in_y.low, in_x.low) +
                                          in_x.weight_high * bitmap.at(in_y.low, in_x.high));
                sum += in_y.weight_high * (in_x.weight_low * bitmap.at(in_y.high, in_x.low) +
                                           in_x.weight_high * bitmap.at(in_y.high, in_x.high));
            }
        }
    }
    params.targets[region * num_cells + cell] = sum;
}

// --- regions that touch a tile --------------------------------------------------------------------------------------

struct Tile {
    int level, image, y, x;  // y and x count tiles
};

__device__ inline Tile find_tile(const Params& params, int index) {
    Tile tile;
    tile.level = 0;
    for (int level = 1; level < params.num_levels; ++level) {
        // The coarsest level, whose tiles have the most regions, comes first, so that no long block starts last.
        if (index < params.levels[level - 1].first_tile) tile.level = level;
    }
    const Level& level = params.levels[tile.level];
    index -= level.first_tile;
    tile.image = index / (level.tiles_y * level.tiles_x);
    index -= tile.image * level.tiles_y * level.tiles_x;
    tile.y = index / level.tiles_x;
    tile.x = index - tile.y * level.tiles_x;
    return tile;
}

struct TileRange {
    int level, image;
    Span y, x;
};

__device__ inline Span to_tiles(const Span& pixels) {
    Span tiles = {pixels.begin / TILE, (pixels.end + TILE - 1) / TILE};
    return tiles;
}

// Each thread computes one word of the mask: which of 32 regions touch one tile. The first block of each group of 32
// regions also stores their positions.
extern "C" __global__ void __launch_bounds__(BLOCK) find_tile_regions(const Params params) {
    __shared__ TileRange ranges[WORD];
    const int roi = blockIdx.y * WORD + threadIdx.x;
    if (threadIdx.x < WORD) {
        TileRange range = {-1, -1, {0, 0}, {0, 0}};
        if (roi < params.num_rois) {
            const Region region = read_region(params, roi);
            if (region.valid) {
                const bool is_pooling = params.is_pooling;
                const RegionAxes axes = {axis_y(params, region, is_pooling), axis_x(params, region, is_pooling)};
                range.level = region.level;
                range.image = region.image;
                range.y = to_tiles(footprint(axes.y));
                range.x = to_tiles(footprint(axes.x));
                if (blockIdx.x == 0) params.axes[roi] = axes;
            }
        }
        ranges[threadIdx.x] = range;
    }
    __syncthreads();
    const int index = blockIdx.x * BLOCK + threadIdx.x;
    if (index < params.num_tiles) {
        const Tile tile = find_tile(params, index);
        unsigned int word = 0;
        for (int i = 0; i < WORD; ++i) {
            const TileRange& range = ranges[i];
            const bool touches = range.level == tile.level && range.image == tile.image && range.y.begin <= tile.y &&
                                 tile.y < range.y.end && range.x.begin <= tile.x && tile.x < range.x.end;
            word |= (unsigned int)touches << i;
        }
        params.tile_masks[(long long)blockIdx.y * params.num_tiles + index] = word;
    }
}

// Regions of one tile in ascending order, unpacked segment by segment.
struct RegionList {
    unsigned int words[SEGMENT_WORDS];
    int counts_before[SEGMENT_WORDS];
    unsigned short rois[SEGMENT_WORDS * WORD];  // relative to the segment's first region
    int count;
};

__device__ inline void unpack_segment(const Params& params, int tile, int first_word, RegionList& list) {
    const int num_words = (params.num_rois + WORD - 1) / WORD;
    const int word_count = num_words - first_word < SEGMENT_WORDS ? num_words - first_word : SEGMENT_WORDS;
    const int thread = threadIdx.x;
    // Other threads may still read the count and the regions of the segment before this one, but not its words.
    for (int word = thread; word < word_count; word += BLOCK) {
        list.words[word] = params.tile_masks[(long long)(first_word + word) * params.num_tiles + tile];
    }
    __syncthreads();
    for (int word = thread; word < word_count; word += BLOCK) {
        int before = 0;
        for (int earlier = 0; earlier < word; ++earlier) before += __popc(list.words[earlier]);
        list.counts_before[word] = before;
        if (word == word_count - 1) list.count = before + __popc(list.words[word]);
    }
    __syncthreads();
    for (int roi = thread; roi < word_count * WORD; roi += BLOCK) {
        const unsigned int word = list.words[roi / WORD], bit = 1u << (roi % WORD);
        if (word & bit) list.rois[list.counts_before[roi / WORD] + __popc(word & (bit - 1))] = (unsigned short)roi;
    }
    __syncthreads();
}

// --- backward --------------------------------------------------------------------------------------------------------
// A block owns TILE x TILE pixels and LANES * VECTOR channels: a warp owns a line of the tile, a lane owns a vector of
// channels and holds TILE sums of a vector in registers. blockIdx.y counts groups of channels.

__device__ inline void store_line(const Params& params, const Tile& tile, int channel, const float sums[TILE][VECTOR]) {
    const Level& level = params.levels[tile.level];
    const int line = tile.y * TILE + threadIdx.x / LANES;
    if (line >= level.height || channel >= params.num_channels) return;
    const long long first_pixel = ((long long)tile.image * level.height + line) * level.width + tile.x * TILE;
#pragma unroll
    for (int i = 0; i < TILE; ++i) {
        if (tile.x * TILE + i < level.width) {
            store(level.pixels + (first_pixel + i) * params.num_channels + channel, sums[i]);
        }
    }
}

// Weights of a bin at each pixel along one side of the tile.
struct alignas(TILE * sizeof(float)) TileWeights {
    float of[TILE];
};

struct Batch {
    TileWeights weights[TABLE];  // for each region: the bins along y, then those along x
    Span bins_y[TILE];           // bins of each region that touch the tile; a batch has at most TILE regions
    Span bins_x[TILE];
};

template <typename Bin>
__device__ inline void weigh_batch(const Params& params, const Tile& tile, const RegionList& list, int first_roi,
                                   int begin, int count, Batch& batch) {
    const int num_bins = params.pooled_height + params.pooled_width;
    for (int entry = threadIdx.x; entry < count * num_bins * TILE; entry += BLOCK) {
        const int item = entry / (num_bins * TILE);
        int bin = entry / TILE - item * num_bins;
        const bool along_y = bin < params.pooled_height;
        if (!along_y) bin -= params.pooled_height;
        const int first_pixel = (along_y ? tile.y : tile.x) * TILE;
        const int pixel = first_pixel + entry % TILE;
        const RegionAxes& axes = params.axes[first_roi + list.rois[begin + item]];
        const Axis axis = along_y ? axes.y : axes.x;
        float weight = 0.0f;
        if (Bin::IS_POOLING) {
            const Span pixels = bin_pixels(axis, bin);
            weight = pixels.begin <= pixel && pixel < pixels.end ? 1.0f : 0.0f;
        } else if (pixel < axis.size) {
            weight = pixel_weight(axis, bin, pixel, params.sampling_ratio);
        }
        batch.weights[entry / TILE].of[entry % TILE] = weight;
        if (bin == 0 && pixel == first_pixel) {
            (along_y ? batch.bins_y : batch.bins_x)[item] = bins_touching(axis, first_pixel, first_pixel + TILE - 1);
        }
    }
}

// RoIAlign: add the weighted gradient of one bin to a line of the tile.
struct AddWeighted {
    static constexpr bool IS_POOLING = false;
    static constexpr int BINS_AT_ONCE = VECTOR > 4 ? 2 : 1;  // concurrent reads, if registers limit the warps

    __device__ static void add(float sums[TILE][VECTOR], const Params& params, long long output, float weight_y,
                               const TileWeights& weights_x, int) {
        const Vector grad = load(params.pooled + output);
#pragma unroll
        for (int i = 0; i < TILE; ++i) {
            // 0 times an infinite gradient is NaN: pixels outside the bin must not receive it.
            if (weights_x.of[i] != 0) add_scaled(sums[i], weight_y * weights_x.of[i], grad);
        }
    }
};

// RoIPool: add the gradient of one bin to the pixel of its maximum.
struct AddAtMaximum {
    static constexpr bool IS_POOLING = true;
    static constexpr int BINS_AT_ONCE = 1;

    __device__ static void add(float sums[TILE][VECTOR], const Params& params, long long output, float,
                               const TileWeights& weights_x, int first_pixel) {
        const Vector grad = load(params.pooled + output);
#pragma unroll
        for (int lane = 0; lane < VECTOR; ++lane) {
            const int argmax = params.argmax[output + lane];
#pragma unroll
            for (int i = 0; i < TILE; ++i) {
                if (weights_x.of[i] != 0 && argmax == first_pixel + i) sums[i][lane] += to_float(grad.lanes[lane]);
            }
        }
    }
};

template <typename Bin>
__device__ inline void gather(const Params& params) {
    __shared__ RegionList list;
    __shared__ Batch batches[2];
    const Tile tile = find_tile(params, blockIdx.x);
    const int warp = threadIdx.x / LANES;
    const int channel = (blockIdx.y * LANES + threadIdx.x % LANES) * VECTOR;
    const int first_pixel = (tile.y * TILE + warp) * params.levels[tile.level].width + tile.x * TILE;
    const int num_bins = params.pooled_height + params.pooled_width;
    const int batch_size = TABLE / num_bins < TILE ? TABLE / num_bins : TILE;
    const int num_words = (params.num_rois + WORD - 1) / WORD;
    float sums[TILE][VECTOR] = {};

    for (int first_word = 0; first_word < num_words; first_word += SEGMENT_WORDS) {
        const int first_roi = first_word * WORD;
        unpack_segment(params, blockIdx.x, first_word, list);
        for (int begin = 0, turn = 0; begin < list.count; begin += batch_size, turn ^= 1) {
            // Two tables alternate, so that one barrier is enough: a thread that refills a table has passed the barrier
            // after the last read of it.
            const int count = list.count - begin < batch_size ? list.count - begin : batch_size;
            Batch& batch = batches[turn];
            weigh_batch<Bin>(params, tile, list, first_roi, begin, count, batch);
            __syncthreads();
            for (int item = 0; item < count && channel < params.num_channels; ++item) {
                const long long roi = first_roi + list.rois[begin + item];
                const TileWeights* weights_y = batch.weights + item * num_bins;
                const TileWeights* weights_x = weights_y + params.pooled_height;
                const Span bins_y = batch.bins_y[item], bins_x = batch.bins_x[item];
                for (int bin_y = bins_y.begin; bin_y < bins_y.end; ++bin_y) {
                    const float weight_y = weights_y[bin_y].of[warp];
                    if (weight_y == 0) continue;
                    const long long first_bin = (roi * params.pooled_height + bin_y) * params.pooled_width + bins_x.begin;
                    long long output = first_bin * params.num_channels + channel;
#pragma unroll Bin::BINS_AT_ONCE
                    for (int bin_x = bins_x.begin; bin_x < bins_x.end; ++bin_x) {
                        const TileWeights weights = weights_x[bin_x];
                        Bin::add(sums, params, output, weight_y, weights, first_pixel);
                        output += params.num_channels;
                    }
                }
            }
        }
    }
    store_line(params, tile, channel, sums);
}

extern "C" __global__ void __launch_bounds__(BLOCK, RESIDENT) roi_align_backward(const Params params) {
    gather<AddWeighted>(params);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 2) roi_pool_backward(const Params params) {
    gather<AddAtMaximum>(params);
}

// --- layouts ---------------------------------------------------------------------------------------------------------
// Transpose [N, C, H, W] to [N, H, W, C] and back: one matrix for each plane, [rows, columns] to [columns, rows].

constexpr int SQUARE = 64;                            // elements along each side of the square that a block transposes
constexpr int PITCH = SQUARE + 4 / sizeof(Element);  // spreads a column of the square over 32 banks

struct Planes {
    const Element* source;
    Element* target;
    int rows;
    int columns;
    int squares_down;
    int squares_across;
    int first_square;  // index of these planes' first square among all
};

struct TransposeParams {
    Planes planes[MAX_LEVELS];
    int num_planes;
};

extern "C" __global__ void __launch_bounds__(BLOCK) transpose(const TransposeParams params) {
    __shared__ Element square[SQUARE * PITCH];
    int level = 0;
    while (level + 1 < params.num_planes && (int)blockIdx.x >= params.planes[level + 1].first_square) ++level;
    const Planes& planes = params.planes[level];
    int index = blockIdx.x - planes.first_square;
    const long long plane = index / (planes.squares_down * planes.squares_across);
    index -= plane * planes.squares_down * planes.squares_across;
    const int first_row = index / planes.squares_across * SQUARE;
    const int first_column = index % planes.squares_across * SQUARE;
    const long long offset = plane * planes.rows * planes.columns;
    const int inner = threadIdx.x % SQUARE;

    for (int outer = threadIdx.x / SQUARE; outer < SQUARE; outer += BLOCK / SQUARE) {
        const int row = first_row + outer, column = first_column + inner;
        if (row < planes.rows && column < planes.columns) {
            square[outer * PITCH + inner] = planes.source[offset + (long long)row * planes.columns + column];
        }
    }
    __syncthreads();
    for (int outer = threadIdx.x / SQUARE; outer < SQUARE; outer += BLOCK / SQUARE) {
        const int row = first_row + inner, column = first_column + outer;
        if (row < planes.rows && column < planes.columns) {
            planes.target[offset + (long long)column * planes.rows + row] = square[inner * PITCH + outer];
        }
    }
}

// Rendering of decoded images into the slots of a batch: each is cut, transposed, resized, flipped and padded.
//
// NVRTC compiles it at first use, without headers. Tests without a GPU compile the same text as host C++ with a shim.
//
// A thread gathers one pixel of the batch, all channels: along x from each row of pixels that it needs, then along y
// from the results. Bytes are computed with integers and rounded after either step, so the bits are those of a CPU.
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

// Greedy non-maximum suppression of a batch, one block for each group of boxes that may suppress one another.
//
// NVRTC compiles it at first use, without headers. Tests without a GPU compile the same text as host C++ with a shim.
// For that, every thread of a block reaches every barrier, and __CUDACC__ guards what only a GPU has.
//
// The boxes of an image are sorted by group, and best first within a group. A block processes the groups that start in
// its chunk of the image, 64 boxes (a tile) at a time: first the boxes of the tile suppress each other, by a table of
// 64 words; then those that are kept suppress the boxes that they overlap in the rest of the group. There are no
// atomics and no block waits for another, so every run gives the same bits.
//
// Shape letters: N images, P boxes of an image.

constexpr int BLOCK = 256;    // threads
constexpr int CHUNK = 32;     // sorted positions of an image in which a block looks for the starts of groups
constexpr int TILE = 64;      // boxes that are compared with each other at a time: the bits of a word
constexpr int PART = 16;      // bits of a word that one thread computes: 64 x 4 threads
constexpr int GROUP_BIT = 32;  // the bits of a key from this one on are the group; those below sort the group
constexpr long long NO_GROUP = 0x7fffffff;  // group of ignored boxes, which come last

struct Box {
    float x1, y1, x2, y2;
};

struct NmsParams {
    const long long* keys;      // [N, P], ascending in each image
    const long long* indices;   // [N, P], index of each sorted box in the result
    const Box* boxes;           // [N, P], sorted
    unsigned char* suppressed;  // [N, P], zeros at first; sorted boxes that a better one overlaps
    unsigned char* keep;        // [N, P], zeros at first; the result, in the original order
    int num_boxes;              // P
    float iou_threshold;
};

struct Tile {
    Box boxes[TILE];
    float areas[TILE];
    bool is_active[TILE];
    unsigned short overlaps[TILE][TILE / PART];  // bit j of word i: box i overlaps the later box j
};

// --- numbers ---------------------------------------------------------------------------------------------------------

// Round the product, never fuse it with a sum: the IoU must be the very number that a CPU computes.
__device__ inline float product(float a, float b) {
#ifdef __CUDACC__
    return __fmul_rn(a, b);
#else
    return a * b;
#endif
}

__device__ inline float area_of(const Box& box) { return product(box.x2 - box.x1, box.y2 - box.y1); }

__device__ inline bool overlap(const Box& box, float area, const Box& other, float other_area, float iou_threshold) {
    const float width = fmaxf(0.0f, fminf(box.x2, other.x2) - fmaxf(box.x1, other.x1));
    const float height = fmaxf(0.0f, fminf(box.y2, other.y2) - fmaxf(box.y1, other.y1));
    const float intersection = product(width, height);
    return intersection > 0 && intersection / (area + other_area - intersection) > iou_threshold;
}

// --- groups ----------------------------------------------------------------------------------------------------------

// Find the end of the group that starts at a position, by bisection.
__device__ inline int end_of_group(const long long* keys, int num_boxes, int start) {
    const long long group = keys[start] >> GROUP_BIT;
    int inside = start, outside = num_boxes;
    while (outside - inside > 1) {
        const int middle = inside + (outside - inside) / 2;
        if (keys[middle] >> GROUP_BIT == group) {
            inside = middle;
        } else {
            outside = middle;
        }
    }
    return outside;
}

__device__ inline bool group_starts(const long long* keys, int position) {
    const long long group = keys[position] >> GROUP_BIT;
    return group != NO_GROUP && (position == 0 || keys[position - 1] >> GROUP_BIT != group);
}

// --- one group -------------------------------------------------------------------------------------------------------

__device__ inline void load_tile(Tile& tile, const Box* boxes, const unsigned char* suppressed, int count) {
    const int i = threadIdx.x;
    if (i >= TILE) return;
    const Box nothing = {0, 0, 0, 0};
    tile.boxes[i] = i < count ? boxes[i] : nothing;
    tile.areas[i] = area_of(tile.boxes[i]);
    tile.is_active[i] = i < count && !suppressed[i];
}

__device__ inline void compare_within(Tile& tile, float iou_threshold) {
    const int i = threadIdx.x / (TILE / PART), part = threadIdx.x % (TILE / PART);
    const Box box = tile.boxes[i];
    unsigned int bits = 0;
    for (int bit = 0; bit < PART; ++bit) {
        const int j = part * PART + bit;
        if (j > i && overlap(box, tile.areas[i], tile.boxes[j], tile.areas[j], iou_threshold)) bits |= 1u << bit;
    }
    tile.overlaps[i][part] = (unsigned short)bits;
}

// Return the boxes of the tile that are kept, one bit each; every thread computes the same.
__device__ inline unsigned long long suppress_within(const Tile& tile) {
    unsigned long long kept = 0, removed = 0;
    for (int i = 0; i < TILE; ++i) {
        if (!tile.is_active[i] || removed >> i & 1) continue;
        kept |= 1ull << i;
        for (int part = 0; part < TILE / PART; ++part) {
            removed |= (unsigned long long)tile.overlaps[i][part] << part * PART;
        }
    }
    return kept;
}

// Suppress the later boxes of the group that overlap a box kept in the tile.
__device__ inline void suppress_after(const Tile& tile, unsigned long long kept, const Box* boxes,
                                      unsigned char* suppressed, int count, float iou_threshold) {
    for (int j = threadIdx.x; j < count; j += BLOCK) {
        if (suppressed[j]) continue;
        const Box box = boxes[j];
        const float area = area_of(box);
        for (unsigned long long left = kept; left; left &= left - 1) {
            const int i = __ffsll(left) - 1;
            if (overlap(tile.boxes[i], tile.areas[i], box, area, iou_threshold)) {
                suppressed[j] = 1;
                break;
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(BLOCK) suppress(const NmsParams params) {
    __shared__ Tile tile;
    const long long first = (long long)blockIdx.y * params.num_boxes;
    const long long* keys = params.keys + first;
    const Box* boxes = params.boxes + first;
    unsigned char* suppressed = params.suppressed + first;
    unsigned char* keep = params.keep + first;

    const int chunk = blockIdx.x * CHUNK, chunk_end = min(chunk + CHUNK, params.num_boxes);
    for (int start = chunk; start < chunk_end; ++start) {
        if (!group_starts(keys, start)) continue;
        const int end = end_of_group(keys, params.num_boxes, start);
        for (int begin = start; begin < end; begin += TILE) {
            const int count = min(end - begin, TILE);
            load_tile(tile, boxes + begin, suppressed + begin, count);
            __syncthreads();
            compare_within(tile, params.iou_threshold);
            __syncthreads();
            const unsigned long long kept = suppress_within(tile);
            if (threadIdx.x < TILE && kept >> threadIdx.x & 1) keep[params.indices[first + begin + threadIdx.x]] = 1;
            const int next = begin + count;
            suppress_after(tile, kept, boxes + next, suppressed + next, end - next, params.iou_threshold);
            __syncthreads();
        }
    }
}

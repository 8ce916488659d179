// Greedy non-maximum suppression of a batch, one block for each group of boxes that may suppress one another.
//
// Compiled at first use by NVRTC, with no header; the same text compiles as host C++ under a shim, which is how it is
// tested without a GPU. For that, every thread of a block reaches every barrier, and what only a GPU has stands behind
// __CUDACC__.
//
// The boxes of an image come sorted: group after group, and within a group best first. A block walks the groups that
// start in its part of the image, 64 boxes at a time: these settle among themselves who stays, from a table of 64 words;
// those who stay then strike out what they overlap in the rest of the group. Nothing is atomic and no block waits for
// another, so every run gives the same bits.

constexpr int BLOCK = 256;    // threads
constexpr int CHUNK = 32;     // places of an image in which a block looks for the starts of groups
constexpr int TILE = 64;      // boxes that settle among themselves at a time: the bits of a word
constexpr int PART = 16;      // bits of a word that one thread fills: 64 x 4 threads
constexpr int GROUP_BIT = 32;  // a key is a group above this bit, and below it what sorts the group
constexpr long long NO_GROUP = 0x7fffffff;  // of boxes that take no part; they stand last

struct Box {
    float x1, y1, x2, y2;
};

struct NmsParams {
    const long long* keys;    // [N, P], ascending in each image
    const long long* places;  // [N, P], where a box stands in the result
    const Box* boxes;         // [N, P]
    unsigned char* struck;    // [N, P], zeros; boxes that a better one overlaps
    unsigned char* keep;      // [N, P], zeros; the result, in the order of the places
    int num_boxes;            // P
    float iou_threshold;
};

struct Tile {
    Box boxes[TILE];
    float areas[TILE];
    bool stands[TILE];
    unsigned short overlaps[TILE][TILE / PART];  // bit j of word i: box i overlaps the later box j
};

// --- numbers ---------------------------------------------------------------------------------------------------------

// Rounded, and never fused with a sum: the threshold is compared with the very number that a CPU would compute.
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

// The end of the group that starts at a place, by bisection.
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

__device__ inline bool group_starts(const long long* keys, int place) {
    const long long group = keys[place] >> GROUP_BIT;
    return group != NO_GROUP && (place == 0 || keys[place - 1] >> GROUP_BIT != group);
}

// --- one group -------------------------------------------------------------------------------------------------------

__device__ inline void load_tile(Tile& tile, const Box* boxes, const unsigned char* struck, int count) {
    const int i = threadIdx.x;
    if (i >= TILE) return;
    const Box nothing = {0, 0, 0, 0};
    tile.boxes[i] = i < count ? boxes[i] : nothing;
    tile.areas[i] = area_of(tile.boxes[i]);
    tile.stands[i] = i < count && !struck[i];
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

// Who stays, best first; every thread finds the same.
__device__ inline unsigned long long settle(const Tile& tile) {
    unsigned long long kept = 0, gone = 0;
    for (int i = 0; i < TILE; ++i) {
        if (!tile.stands[i] || gone >> i & 1) continue;
        kept |= 1ull << i;
        for (int part = 0; part < TILE / PART; ++part) {
            gone |= (unsigned long long)tile.overlaps[i][part] << part * PART;
        }
    }
    return kept;
}

__device__ inline void strike_out(const Tile& tile, unsigned long long kept, const Box* boxes, unsigned char* struck,
                                  int count, float iou_threshold) {
    for (int j = threadIdx.x; j < count; j += BLOCK) {
        if (struck[j]) continue;
        const Box box = boxes[j];
        const float area = area_of(box);
        for (unsigned long long left = kept; left; left &= left - 1) {
            const int i = __ffsll(left) - 1;
            if (overlap(tile.boxes[i], tile.areas[i], box, area, iou_threshold)) {
                struck[j] = 1;
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
    unsigned char* struck = params.struck + first;
    unsigned char* keep = params.keep + first;

    const int chunk = blockIdx.x * CHUNK, chunk_end = min(chunk + CHUNK, params.num_boxes);
    for (int start = chunk; start < chunk_end; ++start) {
        if (!group_starts(keys, start)) continue;
        const int end = end_of_group(keys, params.num_boxes, start);
        for (int begin = start; begin < end; begin += TILE) {
            const int count = min(end - begin, TILE);
            load_tile(tile, boxes + begin, struck + begin, count);
            __syncthreads();
            compare_within(tile, params.iou_threshold);
            __syncthreads();
            const unsigned long long kept = settle(tile);
            if (threadIdx.x < TILE && kept >> threadIdx.x & 1) keep[params.places[first + begin + threadIdx.x]] = 1;
            const int next = begin + count;
            strike_out(tile, kept, boxes + next, struck + next, end - next, params.iou_threshold);
            __syncthreads();
        }
    }
}

// The part of CUDA that the kernels need to compile and run as host C++, one block after the other.
//
// Each thread of a block is a fiber, so that __syncthreads() works as on a GPU: no thread continues before all have
// arrived. A block in which some threads finish while others wait is an error. The order of the threads can be reversed
// to show what depends on it.
#pragma once

#include <math.h>
#include <string.h>
#include <ucontext.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

#define __global__
#define __device__
#define __shared__ static
#define __launch_bounds__(...)

struct Index {
    unsigned int x, y, z;
};
static Index threadIdx, blockIdx, blockDim, gridDim;

inline int __popc(unsigned int word) { return __builtin_popcount(word); }
inline int __ffsll(long long word) { return __builtin_ffsll(word); }
inline unsigned long long atomicAdd(unsigned long long* target, unsigned long long value) {
    const unsigned long long before = *target;
    *target += value;
    return before;
}
inline int min(int a, int b) { return a < b ? a : b; }

namespace host {

constexpr size_t STACK_BYTES = 64 * 1024;

enum class State { RUNNING, WAITING, FINISHED };

struct Fiber {
    ucontext_t context;
    std::unique_ptr<char[]> stack{new char[STACK_BYTES]};
    State state;
    void* fake_stack = nullptr;
};

static std::vector<Fiber> fibers;
static ucontext_t scheduler;
static void* scheduler_fake_stack = nullptr;
static const void* scheduler_stack = nullptr;
static size_t scheduler_stack_bytes = 0;
static int current = 0;
static void (*body)(const void*) = nullptr;
static const void* arguments = nullptr;

inline void enter_fiber(int index) {
    Fiber& fiber = fibers[index];
    current = index;
    threadIdx = {(unsigned int)index, 0, 0};
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&scheduler_fake_stack, fiber.stack.get(), STACK_BYTES);
#endif
    swapcontext(&scheduler, &fiber.context);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(scheduler_fake_stack, nullptr, nullptr);
#endif
}

inline void leave_fiber(State state) {
    Fiber& fiber = fibers[current];
    fiber.state = state;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(state == State::FINISHED ? nullptr : &fiber.fake_stack, scheduler_stack,
                                   scheduler_stack_bytes);
#endif
    swapcontext(&fiber.context, &scheduler);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fiber.fake_stack, nullptr, nullptr);
#endif
}

inline void run_fiber() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_stack_bytes);
#endif
    body(arguments);
    leave_fiber(State::FINISHED);
}

// Returns false if threads pass different barriers.
inline bool run_block(int num_threads, bool reversed) {
    if (fibers.size() < (size_t)num_threads) fibers = std::vector<Fiber>(num_threads);
    for (int i = 0; i < num_threads; ++i) {
        Fiber& fiber = fibers[i];
        fiber.state = State::RUNNING;
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.get();
        fiber.context.uc_stack.ss_size = STACK_BYTES;
        fiber.context.uc_link = nullptr;
        makecontext(&fiber.context, run_fiber, 0);
    }
    for (;;) {
        int finished = 0;
        for (int i = 0; i < num_threads; ++i) {
            const int index = reversed ? num_threads - 1 - i : i;
            enter_fiber(index);
            finished += fibers[index].state == State::FINISHED;
        }
        if (finished == num_threads) return true;
        if (finished > 0) return false;
    }
}

}  // namespace host

inline void __syncthreads() { host::leave_fiber(host::State::WAITING); }

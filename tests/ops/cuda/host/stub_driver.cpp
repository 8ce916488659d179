// A `libcuda.so.1` that runs the kernels on the host: what the real bindings ask of the driver, answered without a GPU.
// A library is any code, a kernel its name, a launch a call of `run_kernel`.

#include "roi_runner.cpp"

#include <dlfcn.h>

#include <string>

typedef int Answer;
constexpr Answer SUCCESS = 0, INVALID_VALUE = 1, NOT_FOUND = 500;

extern "C" {

Answer cuInit(unsigned int) { return SUCCESS; }

Answer cuDriverGetVersion(int* version) {
    *version = 13000;
    return SUCCESS;
}

// NVRTC looks here for extensions of the driver, and does without.
Answer cuGetExportTable(const void**, const void*) { return NOT_FOUND; }

Answer cuCtxGetCurrent(void** context) {
    *context = (void*)1;
    return SUCCESS;
}

Answer cuLibraryLoadData(void** library, const void* code, void*, void*, unsigned int, void*, void*, unsigned int) {
    if (memcmp(code, "\x7f" "ELF", 4) != 0) return INVALID_VALUE;
    *library = (void*)2;
    return SUCCESS;
}

Answer cuLibraryGetKernel(void** kernel, void* library, const char* name) {
    *kernel = new std::string(name);
    return library == (void*)2 ? SUCCESS : INVALID_VALUE;
}

Answer cuLaunchKernel(void* kernel, unsigned int grid_x, unsigned int grid_y, unsigned int grid_z, unsigned int block_x,
                      unsigned int block_y, unsigned int block_z, unsigned int shared_bytes, void*, void** arguments,
                      void** extra) {
    const bool valid = grid_x >= 1 && grid_y >= 1 && grid_y <= 65535 && grid_z == 1 && block_x >= 1 && block_x <= 1024 &&
                       block_y == 1 && block_z == 1 && shared_bytes == 0 && arguments && !extra;
    if (!valid) return INVALID_VALUE;
    const std::string& name = *static_cast<std::string*>(kernel);
    return run_kernel(name.c_str(), grid_x, grid_y, block_x, arguments[0], 0) == 0 ? SUCCESS : INVALID_VALUE;
}

Answer cuGetProcAddress_v2(const char* symbol, void** function, int, unsigned long long, int* status) {
    static void* self = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
    *function = strcmp(symbol, "cuGetProcAddress") == 0 ? (void*)cuGetProcAddress_v2 : dlsym(self, symbol);
    if (status) *status = *function ? 0 : 1;
    return *function ? SUCCESS : NOT_FOUND;
}

Answer cuGetProcAddress(const char* symbol, void** function, int version, unsigned long long flags) {
    return cuGetProcAddress_v2(symbol, function, version, flags, nullptr);
}
}

/* A CUDA driver and an NVML that do what environment variables say: the GPU that the tests do not have.
 *
 *   FAKE_COUNT, FAKE_CAPABILITY (90 is 9.0), FAKE_MEMORY_MB, FAKE_FREE_MB, FAKE_RUNTIME, FAKE_UUID (first 8 digits)
 *   FAKE_<call>=N       the call returns N, such as FAKE_cuInit=100
 *   FAKE_HANG=call      the call never returns           FAKE_CRASH=call   it dies of SIGSEGV
 *   FAKE_WRONG=kernel   one number of that kernel's result is wrong
 *   FAKE_ECC, FAKE_SLOW what NVML counts and which throttle reasons it gives
 *
 * cuLaunchKernel computes the kernel of known_answer.ptx on the CPU, by its name.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static long number(const char *name, long otherwise) {
    const char *text = getenv(name);
    return text && *text ? strtol(text, NULL, 0) : otherwise;
}

static int same(const char *variable, const char *name) {
    const char *text = getenv(variable);
    return text && !strcmp(text, name);
}

static int told(const char *call) {
    char variable[80];
    if (same("FAKE_HANG", call)) for (;;) pause();
    if (same("FAKE_CRASH", call)) raise(SIGSEGV);
    snprintf(variable, sizeof variable, "FAKE_%s", call);
    return (int)number(variable, 0);
}
#define TOLD do { int code = told(__func__); if (code) return code; } while (0)

static void uuid_of(int device, unsigned char *uuid) {
    unsigned long first = number("FAKE_UUID", 0xaaaa0000) + device;
    for (int i = 0; i < 16; i++) uuid[i] = i < 4 ? (unsigned char)(first >> (24 - 8 * i)) : (unsigned char)(0x10 + i);
}

int cuInit(unsigned flags) { (void)flags; TOLD; return 0; }
int cuDriverGetVersion(int *version) { TOLD; *version = number("FAKE_RUNTIME", 12080); return 0; }
int cuDeviceGetCount(int *count) { TOLD; *count = number("FAKE_COUNT", 1); return 0; }
int cuDeviceGet(int *device, int index) { TOLD; *device = index; return 0; }
int cuDeviceGetName(char *name, int length, int device) {
    TOLD; snprintf(name, length, "NVIDIA Fake %d", device); return 0;
}
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    (void)device; TOLD;
    long capability = number("FAKE_CAPABILITY", 90);
    *value = attribute == 75 ? capability / 10 : attribute == 76 ? capability % 10 : 1;
    return 0;
}
int cuDeviceGetUuid_v2(unsigned char *uuid, int device) { TOLD; uuid_of(device, uuid); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) {
    (void)device; TOLD; *bytes = (size_t)number("FAKE_MEMORY_MB", 81079) << 20; return 0;
}
int cuCtxCreate_v2(void **context, unsigned flags, int device) {
    (void)flags; (void)device; TOLD; *context = (void *)1; return 0;
}
int cuCtxDestroy_v2(void *context) { (void)context; return 0; }
int cuCtxSynchronize(void) { TOLD; return 0; }
int cuMemGetInfo_v2(size_t *unused, size_t *total) {
    TOLD;
    *total = (size_t)number("FAKE_MEMORY_MB", 81079) << 20;
    *unused = (size_t)number("FAKE_FREE_MB", number("FAKE_MEMORY_MB", 81079) - 500) << 20;
    return 0;
}
int cuModuleLoadData(void **module, const char *code) {
    TOLD; if (!strstr(code, ".version")) return 218; *module = (void *)1; return 0;
}
int cuModuleGetFunction(void **function, void *module, const char *name) {
    (void)module; TOLD; *function = strdup(name); return 0;
}
int cuMemAlloc_v2(uint64_t *address, size_t bytes) { TOLD; *address = (uint64_t)(uintptr_t)malloc(bytes); return 0; }
int cuMemcpyHtoD_v2(uint64_t to, const void *from, size_t bytes) { TOLD; memcpy((void *)to, from, bytes); return 0; }
int cuMemcpyDtoH_v2(void *to, uint64_t from, size_t bytes) { TOLD; memcpy(to, (void *)from, bytes); return 0; }

int cuLaunchKernel(char *name, unsigned x, unsigned y, unsigned z, unsigned block, unsigned by, unsigned bz,
                   unsigned shared, void *stream, void **arguments, void **extra) {
    (void)z; (void)by; (void)bz; (void)shared; (void)stream; (void)extra;
    TOLD;
    float *first = *(float **)arguments[0], *second = *(float **)arguments[1], *result = *(float **)arguments[2];
    unsigned size = *(unsigned *)arguments[3], out = strcmp(name, "convolution") ? size : size - 2;
    for (unsigned copy = 0; copy < y; copy++)
        for (unsigned place = 0; place < x * block && place < out * out; place++) {
            unsigned row = place / out, column = place % out;
            float sum = 0;
            if (out == size)
                for (unsigned k = 0; k < size; k++) sum += first[row * size + k] * second[k * size + column];
            else
                for (unsigned k = 0; k < 9; k++) sum += first[(row + k / 3) * size + column + k % 3] * second[k];
            result[copy * out * out + place] = sum;
        }
    if (same("FAKE_WRONG", name)) result[(y - 1) * out * out + 7] += 1;
    return 0;
}

int cuGetErrorName(int code, const char **name) {
    static const struct { int code; const char *name; } known[] = {
        {2, "CUDA_ERROR_OUT_OF_MEMORY"}, {100, "CUDA_ERROR_NO_DEVICE"}, {214, "CUDA_ERROR_ECC_UNCORRECTABLE"},
        {999, "CUDA_ERROR_UNKNOWN"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].code == code) return *name = known[i].name, 0;
    return 1;
}

/* NVML */
int nvmlInit_v2(void) { TOLD; return 0; }
int nvmlSystemGetDriverVersion(char *version, unsigned length) { TOLD; snprintf(version, length, "570.86.15"); return 0; }
int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) {
    if (strncmp(uuid, "GPU-", 4)) return 6;
    *device = (void *)1; return 0;
}
int nvmlDeviceGetTotalEccErrors(void *device, int type, int counter, unsigned long long *count) {
    (void)device; (void)type; (void)counter; TOLD; *count = number("FAKE_ECC", 0); return 0;
}
int nvmlDeviceGetCurrentClocksThrottleReasons(void *device, unsigned long long *reasons) {
    (void)device; TOLD; *reasons = number("FAKE_SLOW", 1); return 0;
}
int nvmlDeviceGetUtilizationRates(void *device, unsigned *percent) {
    (void)device; TOLD; percent[0] = number("FAKE_BUSY", 83); percent[1] = 10; return 0;
}

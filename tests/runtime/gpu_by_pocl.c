/* PoCL's CPU in the clothes of a GPU: stands before OpenCL's real loader, which computes, and does what environment
 * variables say. Calls that are not here go to the loader, because this library is linked with it.
 *
 *   FAKE_UUID=text      16 bytes; without it the device cannot tell its UUID
 *   FAKE_<call>=N       the call returns N
 *   FAKE_HANG=call      the call never returns           FAKE_CRASH=call   it dies of SIGSEGV
 *   FAKE_WRONG=N        one bit of byte N of every result is wrong
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int same(const char *variable, const char *name) {
    const char *text = getenv(variable);
    return text && !strcmp(text, name);
}

static int told(const char *call) {
    char variable[80];
    if (same("FAKE_HANG", call)) for (;;) pause();
    if (same("FAKE_CRASH", call)) raise(SIGSEGV);
    snprintf(variable, sizeof variable, "FAKE_%s", call);
    const char *text = getenv(variable);
    return text ? atoi(text) : 0;
}
#define TOLD do { int code = told(__func__); if (code) return code; } while (0)
#define REAL(type) ((type)dlsym(RTLD_NEXT, __func__))

int clGetPlatformIDs(unsigned room, void *platforms, unsigned *count) {
    TOLD; return REAL(int (*)(unsigned, void *, unsigned *))(room, platforms, count);
}

static int give(const void *held, size_t length, size_t room, void *value, size_t *size) {
    if (size) *size = length;
    if (value && room >= length) memcpy(value, held, length);
    return 0;
}

int clGetDeviceInfo(void *device, unsigned what, size_t room, void *value, size_t *size) {
    TOLD;
    uint64_t gpu = 4;
    const char *uuid = getenv("FAKE_UUID");
    if (what == 0x1000) return give(&gpu, sizeof gpu, room, value, size);
    if (what == 0x1030 && uuid) return give("cl_khr_device_uuid", 19, room, value, size);
    if (what == 0x106A && uuid) return give(uuid, 16, room, value, size);
    return REAL(int (*)(void *, unsigned, size_t, void *, size_t *))(device, what, room, value, size);
}

int clBuildProgram(void *program, unsigned count, void *devices, char *options, void *notify, void *data) {
    TOLD;
    return REAL(int (*)(void *, unsigned, void *, char *, void *, void *))(
        program, count, devices, options, notify, data);
}

int clFinish(void *queue) { TOLD; return REAL(int (*)(void *))(queue); }

int clEnqueueReadBuffer(void *queue, void *buffer, unsigned wait, size_t offset, size_t length, void *to, unsigned n,
                        void *before, void *event) {
    TOLD;
    int code = REAL(int (*)(void *, void *, unsigned, size_t, size_t, void *, unsigned, void *, void *))(
        queue, buffer, wait, offset, length, to, n, before, event);
    const char *wrong = getenv("FAKE_WRONG");
    if (wrong && (size_t)atol(wrong) < length) ((unsigned char *)to)[atol(wrong)] ^= 64;
    return code;
}

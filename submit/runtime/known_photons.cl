// Photons that scatter SCATTERS times, each by its own numbers: known_photons.py computes the same.

#define PHOTONS 256u // different ones; further work items repeat them
#define SCATTERS 16u
#define G 0.9f

// Philox4x32-10 (Salmon et al., SC11): four words from a counter and a key
uint4 philox(uint4 c, uint2 key) {
    for (int round = 0; round < 10; round++) {
        uint2 low = (uint2)(0xD2511F53u, 0xCD9E8D57u) * c.xz;
        uint2 high = mul_hi((uint2)(0xD2511F53u, 0xCD9E8D57u), c.xz);
        c = (uint4)(high.y ^ c.y ^ key.x, low.y, high.x ^ c.w ^ key.y, low.x);
        key += (uint2)(0x9E3779B9u, 0xBB67AE85u);
    }
    return c;
}

// between 0 and 1, neither of them, and exact
float uniform01(uint word) { return ((word >> 9) + 0.5f) * 0x1p-23f; }

// of each photon: its place in scattering lengths, and all of its numbers' bits together
__kernel void photons(__global uint4 *result) {
    uint id = (uint)get_global_id(0) % PHOTONS, bits = 0;
    float3 place = (float3)(0.0f), ahead = (float3)(0.0f, 0.0f, 1.0f);
    for (uint scatter = 0; scatter < SCATTERS; scatter++) {
        uint4 word = philox((uint4)(scatter, 0u, id, 0u), (uint2)(1u, 2u));
        bits = rotate(bits, 1u) ^ word.x ^ word.y ^ word.z ^ word.w;
        place += ahead * -log(uniform01(word.x));
        // Henyey-Greenstein, as 1 - cos: nothing cancels where the photon goes straight on
        float s = 2.0f * uniform01(word.y) - 1.0f, below = 1.0f + G * s;
        float lost = (1.0f - G) * (1.0f - s) / below * ((1.0f - G * G) / below + 1.0f - G) / 2.0f;
        float sine = sqrt(lost * (2.0f - lost)), around = 6.2831853f * uniform01(word.z);
        // two directions across: the first from the axis that `ahead` is farther from
        float3 first = normalize(cross(ahead, fabs(ahead.z) < 0.7f ? (float3)(0.0f, 0.0f, 1.0f)
                                                                   : (float3)(1.0f, 0.0f, 0.0f)));
        float3 second = cross(ahead, first);
        ahead = normalize(ahead * (1.0f - lost) + first * (sine * cos(around)) + second * (sine * sin(around)));
    }
    result[get_global_id(0)] = (uint4)(as_uint(place.x), as_uint(place.y), as_uint(place.z), bits);
}

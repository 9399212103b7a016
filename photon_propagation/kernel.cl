// One work item is one photon, from its emission to its end. Metres, nanoseconds, nanometres; z points up.
//
// The host puts in front of this file: DOUBLE where it is wanted, NATIVE on a GPU, and the numbers of the world in
// capitals (world.py).
// reference.py computes the same in NumPy.

#ifdef DOUBLE
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
typedef double real;
typedef double2 real2;
typedef double3 real3;
typedef double4 real4;
#define UNIFORM(word) (((word) + 0.5) * 0x1p-32)
#define LOG2 log2
#define EXP2 exp2
#define SQRT sqrt
#else
typedef float real;
typedef float2 real2;
typedef float3 real3;
typedef float4 real4;
#define UNIFORM(word) ((((word) >> 9) + 0.5f) * 0x1p-23f) // of 24 bits the last would round up to 1
#define EXP2 native_exp2
#define SQRT native_sqrt
#ifdef NATIVE
#define LOG2 native_log2
#else
// what a GPU has an instruction for costs the CPU a call: exponent, and 2 atanh(s) / ln 2 of what is left, to 1e-7
float LOG2(float x) {
    int bits = as_int(x) - 0x3f3504f3, exponent = bits >> 23; // 0x3f3504f3: square root of 1/2
    float rest = as_float((bits & 0x7fffff) + 0x3f3504f3) - 1, s = rest / (2 + rest), t = s * s;
    return exponent + s * (2.88539007f + t * (0.96180076f + t * (0.57658449f + t * 0.43425718f)));
}
#endif
#endif

// not min, max, dot, floor: on the CPU, PoCL calls these and does not inline them
#define LEAST(a, b) ((a) < (b) ? (a) : (b))
#define MOST(a, b) ((a) > (b) ? (a) : (b))
#define INNER(a, b) ((a).x * (b).x + (a).y * (b).y + (a).z * (b).z)

#define POINT 0
#define BEAM 1
#define TRACK 2
#define CASCADE 3

#define ABSORBED 0
#define DETECTED 1
#define ESCAPED 2
#define STOPPED 3
#define SCATTERS 4
#define CARRY 5 // of the scatters: a batch may have more than 32 bits hold

typedef struct {
    ulong photon;
    uint detector, scatters;
    real time, x, y, z, dx, dy, dz, wavelength, weight, path;
} Hit;

typedef struct {
    uint fate, scatters;
    real x, y, z, path;
} End;

// Philox4x32-10 (Salmon et al., SC11): four words from a counter and a key
uint4 philox(uint4 c, uint2 key) {
    uint x = c.x, y = c.y, z = c.z, w = c.w;
    for (int round = 0; round < 10; round++) {
        ulong left = (ulong)0xD2511F53u * x, right = (ulong)0xCD9E8D57u * z;
        x = (uint)(right >> 32) ^ y ^ key.x;
        y = (uint)right;
        z = (uint)(left >> 32) ^ w ^ key.y;
        w = (uint)left;
        key += (uint2)(0x9E3779B9u, 0xBB67AE85u);
    }
    return (uint4)(x, y, z, w);
}

// Linear between the points of a table over 0 to 1
real between(__global const real *table, real u, int points) {
    real at = u * (points - 1);
    int below = min((int)at, points - 2);
    return table[below] + (at - below) * (table[below + 1] - table[below]);
}

// Cosine and sine of a whole turn's share
real2 circle(real share) {
#ifdef DOUBLE
    return (real2)(cos(share * TWO_PI), sin(share * TWO_PI));
#elif defined NATIVE
    return (real2)(native_cos(share * TWO_PI), native_sin(share * TWO_PI));
#else
    // of half the angle, less a quarter turn, by polynomials to 3e-7
    float x = (share - 0.5f) * (TWO_PI / 2), t = x * x;
    float s = x * (0.99999998f + t * (-0.16666648f + t * (8.3328998e-3f + t * (-1.9800898e-4f + t * 2.5904879e-6f))));
    float c = 0.99999995f + t * (-0.49999905f + t * (0.041663585f + t * (-0.0013853704f + t * 2.3153925e-05f)));
    return (real2)(2 * s * s - 1, -2 * s * c);
#endif
}

// A direction turned by the angle whose cosine is 1 - lost, at `azimuth`, in turns (0 to 1).
// The two directions across: Duff et al., Building an orthonormal basis, revisited (JCGT 6, 2017)
real3 turn(real3 d, real lost, real azimuth) {
    // rounding, and what a GPU's own functions are off by, can leave `lost` just outside of 0 to 2: no root of that
    real sine = SQRT(MOST(lost * (2 - lost), 0)), cosine = 1 - lost;
    real2 side = circle(azimuth) * sine;
    real u = side.x, v = side.y;
    real sign = d.z < 0 ? -1 : 1, a = -1 / (sign + d.z), b = d.x * d.y * a;
    real3 t = (real3)(cosine * d.x + u * (1 + sign * d.x * d.x * a) + v * b,
                      cosine * d.y + u * sign * b + v * (sign + d.y * d.y * a),
                      cosine * d.z - u * sign * d.x - v * d.y);
    return t * ((real)1.5 - (real)0.5 * INNER(t, t)); // rounding does not add up
}

// 1 - cos of a scatter: Henyey-Greenstein, without cancellation straight ahead, or simplified Liu for a share of them
real scatter(real u, real which) {
    if (which < F_SL)
        return 2 - 2 * EXP2(BETA_SL * LOG2(u));
    real s = 2 * u - 1, below = 1 / (1 + MEAN_COSINE * s);
    return (1 - MEAN_COSINE) * (1 - s) * below * ((1 - MEAN_COSINE * MEAN_COSINE) * below + 1 - MEAN_COSINE) / 2;
}

real polynomial(const real x, const real *coefficients, int count) {
    real sum = 0;
    for (int power = count - 1; power >= 0; power--)
        sum = sum * x + coefficients[power];
    return sum;
}

real index_of(real wavelength) {
    const real coefficients[] = INDEX;
    return polynomial(wavelength / 1000, coefficients, 5);
}

real group_of(real wavelength) {
    const real coefficients[] = GROUP;
    return polynomial(wavelength / 1000, coefficients, 4);
}

real angular(real cosine) {
    const real coefficients[] = ANGULAR;
    return polynomial(cosine, coefficients, ANGULARS);
}

// A position just below the grid counts to its first cells: that costs a look, and loses nothing
int3 cell_of(real3 position) {
    real3 at = (position - (real3)(GRID_X, GRID_Y, GRID_Z)) * (1 / (real)CELL);
    return (int3)((int)at.x, (int)at.y, (int)at.z);
}

// Share of a photon that counts at a detector: its wavelength's, its direction's, and the oversize factor's
real weight_of(__global const real *acceptance, real wavelength, real3 direction) {
    real at = clamp(wavelength - WAVELENGTH_LOW, (real)0, (real)(ACCEPTANCES - 1)); // nm by nm
    int below = min((int)at, ACCEPTANCES - 2);
    real share = acceptance[below] + (at - below) * (acceptance[below + 1] - acceptance[below]);
    return share * fmax(angular(direction.z), (real)0) / (OVERSIZE * OVERSIZE);
}

// A hit beyond the capacity is counted, not written: the host then repeats the batch with more room
#define RECORD(detector, enters) { \
    uint slot = atomic_inc(found); \
    real3 met = position + direction * (enters); \
    if (slot < capacity) \
        hits[slot] = (Hit){photon, detector, scatters, along / SPEED + (path + (enters)) * time_per_m, \
                           met.x, met.y, met.z, direction.x, direction.y, direction.z, wavelength, \
                           weight_of(acceptance, wavelength, direction), path + (enters)}; \
}

__kernel void propagate(
    const ulong first, const uint photons, const uint seed_low, const uint seed_high,
    __global const real4 *layers,     // effective scattering and dust's absorption at 400 nm, in 1/m; factor of pure ice
    __global const real *wavelengths, // where the spectrum's distribution has reached 0 to 1
    __global const real *profile,     // the same of a cascade's length, in m
    __global const real *acceptance,  // from WAVELENGTH_LOW to WAVELENGTH_HIGH
    __global const uint *cells,       // where a cell's detectors begin among the members
    __global const uint *members,
    __global const real4 *detectors,
    __global Hit *hits, const uint capacity, __global uint *found,
    __global uint *fates, __global End *ends)
{
    uint item = get_global_id(0);
    if (item >= photons)
        return;
    ulong photon = first + item;
    uint4 counter = (uint4)(0u, 0u, (uint)photon, (uint)(photon >> 32));
    uint2 key = (uint2)(seed_low, seed_high);

    // emission
    uint4 word = philox(counter, key);
    real wavelength = between(wavelengths, UNIFORM(word.x), WAVELENGTHS);
    real absorption = -LOG2(UNIFORM(word.y)) * LN_2; // in absorption lengths: all that the photon has
    real azimuth = UNIFORM(word.z), along = 0;
    real n = index_of(wavelength);
    real3 direction = (real3)(AXIS_X, AXIS_Y, AXIS_Z);
#if SOURCE == POINT
    direction = turn((real3)(0, 0, 1), 2 * UNIFORM(word.w), azimuth);
#elif SOURCE == TRACK
    along = UNIFORM(word.w) * LENGTH;
    direction = turn(direction, 1 - 1 / n, azimuth);
#elif SOURCE == CASCADE
    along = between(profile, UNIFORM(word.w), PROFILES);
    // the charged particle's direction, then its Cherenkov cone
    counter.x = 1;
    word = philox(counter, key);
    // a GPU's own logarithm of a number just below 1 can be 0 or more: no logarithm of what is not positive
    real power = MOST(-LOG2(1 - UNIFORM(word.x) * CASCADE_NORM) * LN_2 / CASCADE_B, TINY);
    real lost = EXP2(LOG2(power) / CASCADE_A);
    direction = turn(turn(direction, fmin(lost, (real)2), UNIFORM(word.y)), 1 - 1 / n, azimuth);
#endif
    real3 position = (real3)(SOURCE_X, SOURCE_Y, SOURCE_Z) + (real3)(AXIS_X, AXIS_Y, AXIS_Z) * along;
    real path = 0, time_per_m = n * group_of(wavelength) / SPEED;

    // what the wavelength does to each layer's numbers
    real log_ratio = LOG2(wavelength / 400);
    real scattering_scale = EXP2(-ALPHA * log_ratio) / (1 - MEAN_COSINE);
    real dust_scale = EXP2(-KAPPA * log_ratio), pure = PURE_A * exp(-PURE_B / wavelength);
    int layer = clamp((int)floor((position.z - BOTTOM) / THICKNESS), 0, LAYERS - 1);

    uint scatters = 0, fate;
    for (;;) {
        counter.x = 2 + scatters;
        word = philox(counter, key);

        // through the layers to the next scatter, or to where the photon is absorbed
        real scattering = -LOG2(UNIFORM(word.x)) * LN_2, step = 0;
        bool up = direction.z > 0, absorbed;
        for (;;) {
            real4 ice = layers[layer];
            real b = ice.x * scattering_scale, a = ice.y * dust_scale + ice.z * pure;
            real to_scatter = scattering / b, to_absorption = absorption / a, to_boundary = INFINITY;
            if (layer != (up ? LAYERS - 1 : 0) && direction.z != 0) {
                to_boundary = (BOTTOM + THICKNESS * (layer + up) - position.z) / direction.z - step;
                to_boundary = MOST(to_boundary, 0);
            }
            absorbed = to_absorption <= to_scatter;
            real part = LEAST(to_scatter, to_absorption);
            if (part < to_boundary) {
                step += part;
                absorption -= part * a;
                break;
            }
            step += to_boundary;
            scattering = MOST(scattering - to_boundary * b, TINY);
            absorption = MOST(absorption - to_boundary * a, TINY);
            layer += up ? 1 : -1;
        }

        // detectors on the way, through the cells that hold any
        real3 next = position + direction * step;
        real nearest = INFINITY;
        uint seen = 0;
        int3 here = cell_of(position), there = cell_of(next);
        int3 low = max(min(here, there), (int3)(0)), high = min(max(here, there), (int3)(GRID_NX, GRID_NY, GRID_NZ) - 1);
        for (int cz = low.z; cz <= high.z; cz++)
        for (int cy = low.y; cy <= high.y; cy++)
        for (int cx = low.x; cx <= high.x; cx++) {
            int cell = (cz * GRID_NY + cy) * GRID_NX + cx;
            for (uint member = cells[cell]; member < cells[cell + 1]; member++) {
                uint detector = members[member];
                real3 to = detectors[detector].xyz - position;
                real closest = INNER(to, direction);
                real3 across = to - direction * closest;
                // the oversize factor widens a sphere across the photon's direction, not along it
                real depth2 = RADIUS * RADIUS - INNER(across, across) / (OVERSIZE * OVERSIZE);
                if (depth2 <= 0)
                    continue;
                real enters = closest - sqrt(depth2);
                if (enters < 0 || enters > step)
                    continue;
                int3 where = cell_of(position + direction * enters);
                if (where.x != cx || where.y != cy || where.z != cz) // seen from another cell
                    continue;
#if STOPS_AT_HIT
                if (enters >= nearest)
                    continue;
#endif
                nearest = enters;
                seen = detector;
#if !STOPS_AT_HIT
                RECORD(detector, enters)
#endif
            }
        }
#if STOPS_AT_HIT
        if (nearest <= step) {
            RECORD(seen, nearest)
            path += nearest;
            position += direction * nearest;
            fate = DETECTED;
            break;
        }
#endif
        path += step;
        position = next;
        if (absorbed) {
            fate = ABSORBED;
            break;
        }
        if (INNER(position, position) > WORLD * WORLD) {
            fate = ESCAPED;
            break;
        }
        if (++scatters == MOST_SCATTERS) {
            fate = STOPPED;
            break;
        }
        direction = turn(direction, scatter(UNIFORM(word.y), UNIFORM(word.w)), UNIFORM(word.z));
    }
    atomic_inc(&fates[fate]);
    uint before = atomic_add(&fates[SCATTERS], scatters);
    if (before + scatters < before)
        atomic_inc(&fates[CARRY]);
#ifdef ENDS
    ends[item] = (End){fate, scatters, position.x, position.y, position.z, path};
#endif
}

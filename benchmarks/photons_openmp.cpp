// The peer of photon_propagation's kernel: the same photons by C++ and OpenMP, in single precision.
//
//     g++ -std=c++17 -O3 -march=native -fopenmp -DDEFINES='"numbers.h"' photons_openmp.cpp -o peer
//     peer TABLES PHOTONS SEED SECONDS
//
// numbers.h holds the kernel's constants, TABLES its arrays, each behind its length (benchmarks/photons.py writes both).
// Batches of PHOTONS are computed until SECONDS have gone; prints one JSON object.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <vector>

#include DEFINES

using real = float;

struct Vector {
    real x, y, z;
};

static inline Vector operator+(Vector a, Vector b) { return {a.x + b.x, a.y + b.y, a.z + b.z}; }
static inline Vector operator-(Vector a, Vector b) { return {a.x - b.x, a.y - b.y, a.z - b.z}; }
static inline Vector operator*(Vector a, real s) { return {a.x * s, a.y * s, a.z * s}; }
static inline real dot(Vector a, Vector b) { return a.x * b.x + a.y * b.y + a.z * b.z; }

struct Words {
    uint32_t x, y, z, w;
};

struct Hit {
    uint64_t photon;
    uint32_t detector, scatters;
    real time;
    Vector met, ahead;
    real wavelength, weight, path;
};

struct Tables {
    std::vector<real> layers, wavelengths, profile, acceptance, detectors;
    std::vector<uint32_t> cells, members;
};

struct Counts {
    uint64_t fates[4] = {0, 0, 0, 0}, scatters = 0, hits = 0;
};

enum { ABSORBED, DETECTED, ESCAPED, STOPPED };

static inline Words philox(Words c, uint32_t k0, uint32_t k1) {
    for (int round = 0; round < 10; round++) {
        uint64_t left = uint64_t(0xD2511F53u) * c.x, right = uint64_t(0xCD9E8D57u) * c.z;
        c = {uint32_t(right >> 32) ^ c.y ^ k0, uint32_t(right), uint32_t(left >> 32) ^ c.w ^ k1, uint32_t(left)};
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return c;
}

static inline real uniform(uint32_t word) { return (real(word >> 9) + 0.5f) * 0x1p-23f; }

static inline real between(const std::vector<real> &table, real u) {
    real place = u * real(table.size() - 1);
    int below = std::min(int(place), int(table.size()) - 2);
    return table[below] + (place - real(below)) * (table[below + 1] - table[below]);
}

static inline Vector turn(Vector d, real lost, real around) {
    real sine = std::sqrt(lost * (2 - lost)), cosine = 1 - lost, angle = around * TWO_PI;
    real u = sine * std::cos(angle), v = sine * std::sin(angle);
    real sign = d.z < 0 ? -1.0f : 1.0f, a = -1 / (sign + d.z), b = d.x * d.y * a;
    Vector t = {cosine * d.x + u * (1 + sign * d.x * d.x * a) + v * b,
                cosine * d.y + u * sign * b + v * (sign + d.y * d.y * a),
                cosine * d.z - u * sign * d.x - v * d.y};
    return t * (1.5f - 0.5f * dot(t, t));
}

static inline real scatter(real u, real which) {
    if (which < F_SL)
        return 2 - 2 * std::exp2(BETA_SL * std::log2(u));
    real s = 2 * u - 1, below = 1 / (1 + MEAN_COSINE * s);
    return (1 - MEAN_COSINE) * (1 - s) * below * ((1 - MEAN_COSINE * MEAN_COSINE) * below + 1 - MEAN_COSINE) / 2;
}

template <int count> static inline real polynomial(real x, const real (&coefficients)[count]) {
    real sum = 0;
    for (int power = count - 1; power >= 0; power--)
        sum = sum * x + coefficients[power];
    return sum;
}

static inline int cell_of(real place, real corner) { return int((place - corner) * (1 / CELL)); }

static void propagate(uint64_t photon, uint32_t seed_low, uint32_t seed_high, const Tables &tables, Counts &counts,
                      std::vector<Hit> &hits) {
    static const real index[] = INDEX, group[] = GROUP, angular[] = ANGULAR;
    Words counter = {0, 0, uint32_t(photon), uint32_t(photon >> 32)};
    Words word = philox(counter, seed_low, seed_high);
    real wavelength = between(tables.wavelengths, uniform(word.x));
    real absorption = -std::log(uniform(word.y)), around = uniform(word.z);
    real n = polynomial(wavelength / 1000, index);
    const Vector axis = {AXIS_X, AXIS_Y, AXIS_Z};
    real along = between(tables.profile, uniform(word.w));
    counter.x = 1;
    word = philox(counter, seed_low, seed_high);
    real lost = std::pow(-std::log(1 - uniform(word.x) * CASCADE_NORM) / CASCADE_B, 1 / CASCADE_A);
    Vector ahead = turn(turn(axis, std::min(lost, 2.0f), uniform(word.y)), 1 - 1 / n, around);
    Vector place = Vector{SOURCE_X, SOURCE_Y, SOURCE_Z} + axis * along;
    real path = 0, time_per_m = n * polynomial(wavelength / 1000, group) / SPEED;
    real ratio = std::log2(wavelength / 400);
    real scattering_scale = std::exp2(-ALPHA * ratio) / (1 - MEAN_COSINE);
    real dust_scale = std::exp2(-KAPPA * ratio), pure = PURE_A * std::exp(-PURE_B / wavelength);
    int layer = std::clamp(int(std::floor((place.z - BOTTOM) / THICKNESS)), 0, LAYERS - 1);

    uint32_t scatters = 0;
    int fate;
    for (;;) {
        counter.x = 2 + scatters;
        word = philox(counter, seed_low, seed_high);
        real scattering = -std::log(uniform(word.x)), step = 0;
        bool up = ahead.z > 0, absorbed;
        for (;;) {
            const real *ice = &tables.layers[4 * layer];
            real b = ice[0] * scattering_scale, a = ice[1] * dust_scale + ice[2] * pure;
            real to_scatter = scattering / b, to_end = absorption / a, room = INFINITY;
            if (layer != (up ? LAYERS - 1 : 0) && ahead.z != 0)
                room = std::max((BOTTOM + THICKNESS * real(layer + up) - place.z) / ahead.z - step, 0.0f);
            absorbed = to_end <= to_scatter;
            real part = std::min(to_scatter, to_end);
            if (part < room) {
                step += part;
                absorption -= part * a;
                break;
            }
            step += room;
            scattering = std::max(scattering - room * b, TINY);
            absorption = std::max(absorption - room * a, TINY);
            layer += up ? 1 : -1;
        }

        Vector next = place + ahead * step;
        int here[3] = {cell_of(place.x, GRID_X), cell_of(place.y, GRID_Y), cell_of(place.z, GRID_Z)};
        int there[3] = {cell_of(next.x, GRID_X), cell_of(next.y, GRID_Y), cell_of(next.z, GRID_Z)};
        const int sides[3] = {GRID_NX, GRID_NY, GRID_NZ};
        int low[3], high[3];
        for (int i = 0; i < 3; i++) {
            low[i] = std::max(std::min(here[i], there[i]), 0);
            high[i] = std::min(std::max(here[i], there[i]), sides[i] - 1);
        }
        real nearest = INFINITY;
        uint32_t seen = 0;
        auto record = [&](uint32_t detector, real enters) {
            real at = std::clamp(wavelength - WAVELENGTH_LOW, 0.0f, real(ACCEPTANCES - 1));
            int below = std::min(int(at), ACCEPTANCES - 2);
            const real *share = &tables.acceptance[below];
            real weight = (share[0] + (at - real(below)) * (share[1] - share[0])) *
                          std::max(polynomial(ahead.z, angular), 0.0f) / (OVERSIZE * OVERSIZE);
            hits.push_back({photon, detector, scatters, along / SPEED + (path + enters) * time_per_m,
                            place + ahead * enters, ahead, wavelength, weight, path + enters});
        };
        for (int cz = low[2]; cz <= high[2]; cz++)
        for (int cy = low[1]; cy <= high[1]; cy++)
        for (int cx = low[0]; cx <= high[0]; cx++) {
            int cell = (cz * GRID_NY + cy) * GRID_NX + cx;
            for (uint32_t member = tables.cells[cell]; member < tables.cells[cell + 1]; member++) {
                uint32_t detector = tables.members[member];
                const real *at = &tables.detectors[4 * detector];
                Vector to = Vector{at[0], at[1], at[2]} - place;
                real closest = dot(to, ahead);
                Vector across = to - ahead * closest;
                real depth2 = RADIUS * RADIUS - dot(across, across) / (OVERSIZE * OVERSIZE);
                if (depth2 <= 0)
                    continue;
                real enters = closest - std::sqrt(depth2);
                if (enters < 0 || enters > step)
                    continue;
                Vector met = place + ahead * enters;
                if (cell_of(met.x, GRID_X) != cx || cell_of(met.y, GRID_Y) != cy || cell_of(met.z, GRID_Z) != cz)
                    continue;
                if (STOPS_AT_HIT && enters >= nearest)
                    continue;
                nearest = enters;
                seen = detector;
                if (!STOPS_AT_HIT)
                    record(detector, enters);
            }
        }
        if (STOPS_AT_HIT && nearest <= step) {
            record(seen, nearest);
            fate = DETECTED;
            break;
        }
        path += step;
        place = next;
        if (absorbed) {
            fate = ABSORBED;
            break;
        }
        if (dot(place, place) > WORLD * WORLD) {
            fate = ESCAPED;
            break;
        }
        if (++scatters == MOST_SCATTERS) {
            fate = STOPPED;
            break;
        }
        ahead = turn(ahead, scatter(uniform(word.y), uniform(word.w)), uniform(word.z));
    }
    counts.fates[fate]++;
    counts.scatters += scatters;
}

template <typename T> static std::vector<T> read(std::ifstream &file) {
    uint64_t length = 0;
    file.read(reinterpret_cast<char *>(&length), sizeof length);
    std::vector<T> values(length);
    file.read(reinterpret_cast<char *>(values.data()), std::streamsize(length * sizeof(T)));
    return values;
}

int main(int words, char **word) {
    if (words != 5)
        return std::fprintf(stderr, "peer TABLES PHOTONS SEED SECONDS\n"), 1;
    std::ifstream file(word[1], std::ios::binary);
    Tables tables;
    tables.layers = read<real>(file);
    tables.wavelengths = read<real>(file);
    tables.profile = read<real>(file);
    tables.acceptance = read<real>(file);
    tables.cells = read<uint32_t>(file);
    tables.members = read<uint32_t>(file);
    tables.detectors = read<real>(file);
    if (!file)
        return std::fprintf(stderr, "%s: too short\n", word[1]), 1;
    const int64_t photons = std::atoll(word[2]);
    const uint64_t seed = std::strtoull(word[3], nullptr, 10);
    const double seconds = std::atof(word[4]);
    Counts first;
    int batches = 0;
    double took = 0;
    // the first batch warms up, as the kernel's does, and is what both are compared by
    for (int batch = -1; batch < 0 || took < seconds; batch++) {
        Counts all;
        auto began = std::chrono::steady_clock::now();
#pragma omp parallel
        {
            Counts mine;
            std::vector<Hit> hits;
#pragma omp for schedule(dynamic, 256)
            for (int64_t i = 0; i < photons; i++)
                propagate(uint64_t((batch + 1) * photons + i), uint32_t(seed), uint32_t(seed >> 32), tables, mine, hits);
#pragma omp critical
            {
                for (int fate = 0; fate < 4; fate++)
                    all.fates[fate] += mine.fates[fate];
                all.scatters += mine.scatters;
                all.hits += hits.size();
            }
        }
        std::chrono::duration<double> passed = std::chrono::steady_clock::now() - began;
        if (batch < 0) {
            first = all;
        } else {
            took += passed.count();
            batches++;
        }
    }
    std::printf("{\"photons_per_s\": %.6g, \"batches\": %d, \"absorbed\": %llu, \"escaped\": %llu, \"scatters\": %llu, "
                "\"hits\": %llu}\n",
                double(batches) * double(photons) / took, batches, (unsigned long long)first.fates[ABSORBED],
                (unsigned long long)first.fates[ESCAPED], (unsigned long long)first.scatters,
                (unsigned long long)first.hits);
}

/* Durations counted in buckets under 0.8 % wide, from 1 ns to hours, as HdrHistogram does: adding one is two shifts. */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>
#include <stdio.h>

#define SUB_BITS 7
#define BUCKETS ((64 - SUB_BITS) << SUB_BITS)

struct histogram {
    uint64_t count;
    int64_t max;
    uint64_t at[BUCKETS];
};

static inline unsigned bucket_of(uint64_t value) {
    if (value < (1u << SUB_BITS)) return (unsigned)value;
    unsigned shift = 63 - (unsigned)__builtin_clzll(value) - SUB_BITS;
    return ((shift + 1) << SUB_BITS) + (unsigned)((value >> shift) & ((1u << SUB_BITS) - 1));
}

/* The largest value a bucket stands for. */
static inline uint64_t bucket_end(unsigned bucket) {
    if (bucket < (1u << SUB_BITS)) return bucket;
    unsigned shift = (bucket >> SUB_BITS) - 1;
    return ((((uint64_t)1 << SUB_BITS) + (bucket & ((1u << SUB_BITS) - 1)) + 1) << shift) - 1;
}

static inline void add(struct histogram *h, int64_t ns) {
    if (ns < 0) ns = 0;
    h->at[bucket_of((uint64_t)ns)]++;
    h->count++;
    if (ns > h->max) h->max = ns;
}

static inline double percentile_ms(const struct histogram *h, double share) {
    uint64_t wanted = (uint64_t)(share * (double)h->count + 0.5), seen = 0;
    if (h->count == 0) return 0;
    if (wanted < 1) wanted = 1;
    for (unsigned bucket = 0; bucket < BUCKETS; bucket++) {
        seen += h->at[bucket];
        if (seen >= wanted) return (double)(bucket_end(bucket) < (uint64_t)h->max ? bucket_end(bucket) : (uint64_t)h->max) / 1e6;
    }
    return (double)h->max / 1e6;
}

static inline void print_histogram(const char *name, const struct histogram *h) {
    printf("\"%s\": {\"count\": %llu, \"p50_ms\": %.4f, \"p90_ms\": %.4f, \"p99_ms\": %.4f, \"p999_ms\": %.4f, \"max_ms\": %.4f}",
           name, (unsigned long long)h->count, percentile_ms(h, 0.5), percentile_ms(h, 0.9), percentile_ms(h, 0.99),
           percentile_ms(h, 0.999), (double)h->max / 1e6);
}

#endif

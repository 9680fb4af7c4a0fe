/* What sha256d.cu needs of CUDA, for a host's C compiler: its threads run one after another. */

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(threads, blocks)

struct index { unsigned int x; };
static struct index threadIdx, blockIdx, blockDim, gridDim;

static inline unsigned int __funnelshift_r(unsigned int low, unsigned int high, int by) {
    return (unsigned int)(((unsigned long long)high << 32 | low) >> (by & 31));
}

static inline unsigned int __byte_perm(unsigned int x, unsigned int y, unsigned int selector) {
    unsigned long long bytes = (unsigned long long)y << 32 | x;
    unsigned int result = 0;
    for (int at = 0; at < 4; at++)
        result |= (unsigned int)(bytes >> 8 * (selector >> 4 * at & 7) & 0xff) << 8 * at;
    return result;
}

static inline unsigned int __umulhi(unsigned int x, unsigned int y) {
    return (unsigned int)((unsigned long long)x * y >> 32);
}

static inline unsigned int atomicAdd(unsigned int *at, unsigned int value) {
    unsigned int before = *at;
    *at = before + value;
    return before;
}

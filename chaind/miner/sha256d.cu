// sha256d over nonces of one header: each thread hashes some, candidates go into a buffer.
//
// Thread i of n takes the nonces first + i, first + i + n, first + i + 2n, ... as long as the
// offset from `first` is below `count`; nonces are modulo 2^32. The caller sees to it that
// count + n stays below 2^32. What no nonce changes comes in `fixed`, whose words are operands in
// constant memory; device_work.py makes them. Of the second hash only the last word is made, which
// takes 61 of its 64 rounds. A nonce is a candidate when that word, in the byte order of a target,
// is not above `limit`. The host looks at candidates: it needs the other words only where this one
// is equal.
//
// found[0] counts candidates; found[1] ... found[capacity] hold them in no order. A count above
// `capacity` says that some had no place: the caller searches again, fewer nonces at a time.
//
// The arithmetic is written for what the chip executes. An exclusive or of three, a choice and a
// majority are one LOP3 each, a rotation and a shift one SHF. These start in the integer pipe, 64
// lanes in a cycle of a multiprocessor, and so does IADD3. x * 1 + y is one IMAD, which starts in a
// pipe beside it, as long as no compiler knows that the factor is 1: it is a parameter. PRODUCTS
// says what is done so:
//
//   0  nothing
//   1  additions
//   2  shifts, too: x >> n is the upper half of x * 2^(32-n)
//   3  one rotation in each sum of the schedule's far words, too: both halves, added
//
// A product's upper half takes its pipe longer; how much is nowhere said, and benchmarks/gpu.py
// measures it.
//
// Plain C but for CUDA's names, so that a host's compiler can make it, too.

#ifndef PRODUCTS
#define PRODUCTS 1
#endif
#ifndef UNROLL
#define UNROLL 1
#endif
#ifndef THREADS
#define THREADS 256
#endif
#ifndef BLOCKS
#define BLOCKS 4
#endif

typedef unsigned int word;

// What is the same for all nonces of a header. Words are as SHA-256 counts them: the nonce is
// word 3 of the header's second block.
struct fixed {
    word state[8];  // after the first block
    word begun[8];  // a ... h after round 3 of the second block; a and e lack the nonce
    word given[3];  // of rounds 4, 5, 6: h, the constant and the word, added
    word word16, word17;
    word given16, given17;  // the word and the round's constant, added
    word part18, part19;    // what the nonce is not in
    word part31, part32;
    word one, two22, two25, two29;  // powers of two that no compiler shall know
};

// x + y. In PTX, as a compiler that sees multiplications by one number takes them together.
static __device__ __forceinline__ word add(word x, word y, word one) {
#if PRODUCTS >= 1 && defined(__CUDA_ARCH__)
    word sum;
    asm("mad.lo.u32 %0, %1, %2, %3;" : "=r"(sum) : "r"(x), "r"(one), "r"(y));
    return sum;
#elif PRODUCTS >= 1
    return x * one + y;
#else
    return x + y;
#endif
}
#define ADD(x, y) add(x, y, fixed->one)

#define PADDING 0x80000000u
#define H_0 0x6a09e667u
#define H_1 0xbb67ae85u
#define H_2 0x3c6ef372u
#define H_3 0xa54ff53au
#define H_4 0x510e527fu
#define H_5 0x9b05688cu
#define H_6 0x1f83d9abu
#define H_7 0x5be0cd19u

#define ROTATED(x, by) __funnelshift_r(x, x, by)
#define SUM_A(a) (ROTATED(a, 2) ^ ROTATED(a, 13) ^ ROTATED(a, 22))
#define SUM_E(e) (ROTATED(e, 6) ^ ROTATED(e, 11) ^ ROTATED(e, 25))
#define KNOWN_FAR(x) (ROTATED(x, 7) ^ ROTATED(x, 18) ^ (x) >> 3)
#define KNOWN_NEAR(x) (ROTATED(x, 17) ^ ROTATED(x, 19) ^ (x) >> 10)
#if PRODUCTS >= 2
#define SHIFTED_3(x) __umulhi(x, fixed->two29)
#define SHIFTED_10(x) __umulhi(x, fixed->two22)
#else
#define SHIFTED_3(x) ((x) >> 3)
#define SHIFTED_10(x) ((x) >> 10)
#endif
#if PRODUCTS >= 3
#define ROTATED_7(x) ((x) * fixed->two25 + __umulhi(x, fixed->two25))
#else
#define ROTATED_7(x) ROTATED(x, 7)
#endif
#define FAR(x) (ROTATED_7(x) ^ ROTATED(x, 18) ^ SHIFTED_3(x))
#define NEAR(x) (ROTATED(x, 17) ^ ROTATED(x, 19) ^ SHIFTED_10(x))
#define CHOICE(e, f, g) (((e) & (f)) ^ (~(e) & (g)))
#define MAJORITY(a, b, c) (((a) & (b)) ^ ((a) & (c)) ^ ((b) & (c)))

// The working variables do not move: AT finds variable 0 (a) ... 7 (h) of round t.
#define AT(t, variable) v[((variable) - (t)) & 7]

// Round t; `given` is h, the round's constant and its word, added.
#define ROUND(t, given)                                                                           \
    do {                                                                                          \
        word sum = ADD(SUM_E(AT(t, 4)), ADD(CHOICE(AT(t, 4), AT(t, 5), AT(t, 6)), given));        \
        AT(t, 3) = ADD(sum, AT(t, 3));                                                            \
        AT(t, 7) = ADD(SUM_A(AT(t, 0)), ADD(MAJORITY(AT(t, 0), AT(t, 1), AT(t, 2)), sum));        \
    } while (0)

// Word t of the schedule takes the place of the one sixteen before it.
#define NEXT(t)                                                                                   \
    (w[(t) & 15] = ADD(NEAR(w[((t) + 14) & 15]),                                                    \
                       ADD(w[((t) + 9) & 15], ADD(FAR(w[((t) + 1) & 15]), w[(t) & 15]))))

// The last word of the nonce's double hash, as SHA-256 has it.
static __device__ __forceinline__ word last_word(const struct fixed *fixed, word nonce) {
    const word k[64] = {  // FIPS 180-4, 4.2.2
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5,
        0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
        0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
        0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
        0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
        0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
        0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
        0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
        0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
        0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
        0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
        0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
        0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5,
        0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
        0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
    };
    word v[8], w[16];
    int t;

    // The header's second block from round 4 on. Its words 4 ... 15 are PADDING, zeros and 640.
    word turned = __byte_perm(nonce, 0, 0x0123);
#pragma unroll
    for (t = 0; t < 8; t++) AT(4, t) = fixed->begun[t];
    AT(4, 0) = ADD(turned, AT(4, 0));
    AT(4, 4) = ADD(turned, AT(4, 4));
#pragma unroll
    for (t = 4; t < 7; t++) ROUND(t, fixed->given[t - 4]);
#pragma unroll
    for (t = 7; t < 15; t++) ROUND(t, ADD(AT(t, 7), k[t]));
    ROUND(15, ADD(AT(15, 7), k[15] + 640));
    ROUND(16, ADD(AT(16, 7), fixed->given16));
    ROUND(17, ADD(AT(17, 7), fixed->given17));
    w[0] = fixed->word16;
    w[1] = fixed->word17;
    w[2] = ADD(FAR(turned), fixed->part18);
    w[3] = ADD(turned, fixed->part19);
    w[4] = ADD(NEAR(w[2]), PADDING);
    w[5] = NEAR(w[3]);
    w[6] = ADD(NEAR(w[4]), 640);
    w[7] = ADD(NEAR(w[5]), fixed->word16);
    w[8] = ADD(NEAR(w[6]), fixed->word17);
#pragma unroll
    for (t = 9; t < 14; t++) w[t] = ADD(NEAR(w[t - 2]), w[t - 7]);
    w[14] = ADD(NEAR(w[12]), ADD(w[7], KNOWN_FAR(640)));
    w[15] = ADD(NEAR(w[13]), ADD(w[8], fixed->part31));
#pragma unroll
    for (t = 18; t < 64; t++) {
        if (t == 32)
            w[0] = ADD(NEAR(w[14]), ADD(w[9], fixed->part32));
        else if (t == 33)
            w[1] = ADD(NEAR(w[15]), ADD(w[10], ADD(FAR(w[2]), fixed->word17)));
        else if (t > 33)
            NEXT(t);
        ROUND(t, ADD(w[t & 15], ADD(AT(t, 7), k[t])));
    }

    // The hash of that hash. Its block's words 8 ... 15 are PADDING, zeros and 256. In round 0 all
    // but its word is known, and h in the three that follow.
#pragma unroll
    for (t = 0; t < 8; t++) w[t] = ADD(AT(64, t), fixed->state[t]);
    word sum = k[0] + H_7 + SUM_E(H_4) + CHOICE(H_4, H_5, H_6);
    AT(1, 0) = ADD(w[0], sum + SUM_A(H_0) + MAJORITY(H_0, H_1, H_2));
    AT(1, 1) = H_0, AT(1, 2) = H_1, AT(1, 3) = H_2;
    AT(1, 4) = ADD(w[0], sum + H_3);
    AT(1, 5) = H_4, AT(1, 6) = H_5, AT(1, 7) = H_6;
#pragma unroll
    for (t = 1; t < 4; t++) ROUND(t, ADD(w[t], AT(t, 7) + k[t]));
#pragma unroll
    for (t = 4; t < 8; t++) ROUND(t, ADD(w[t], ADD(AT(t, 7), k[t])));
    ROUND(8, ADD(AT(8, 7), PADDING + k[8]));
#pragma unroll
    for (t = 9; t < 15; t++) ROUND(t, ADD(AT(t, 7), k[t]));
    ROUND(15, ADD(AT(15, 7), 256 + k[15]));
    w[0] = ADD(FAR(w[1]), w[0]);
    w[1] = ADD(FAR(w[2]), ADD(w[1], KNOWN_NEAR(256)));
#pragma unroll
    for (t = 2; t < 6; t++) w[t] = ADD(NEAR(w[t - 2]), ADD(FAR(w[t + 1]), w[t]));
    w[6] = ADD(NEAR(w[4]), ADD(FAR(w[7]), ADD(w[6], 256)));
    w[7] = ADD(NEAR(w[5]), ADD(w[0], ADD(w[7], KNOWN_FAR(PADDING))));
    w[8] = ADD(NEAR(w[6]), ADD(w[1], PADDING));
#pragma unroll
    for (t = 9; t < 14; t++) w[t] = ADD(NEAR(w[t - 2]), w[t - 7]);
    w[14] = ADD(NEAR(w[12]), ADD(w[7], KNOWN_FAR(256)));
    w[15] = ADD(NEAR(w[13]), ADD(w[8], ADD(FAR(w[0]), 256)));
#pragma unroll
    for (t = 16; t < 61; t++) {
        if (t >= 32) NEXT(t);
        ROUND(t, ADD(w[t & 15], ADD(AT(t, 7), k[t])));
    }
    return ADD(AT(61, 4), H_7);
}

#ifdef __cplusplus
extern "C"
#endif
__global__ void __launch_bounds__(THREADS, BLOCKS) search(
    struct fixed fixed, word limit, word first, word count, word capacity, word *found) {
    enum { TURN = UNROLL };  // nvcc looks up names in the pragma, and expands no macro there
    word stride = gridDim.x * blockDim.x;
    word offset;
#pragma unroll TURN
    for (offset = blockIdx.x * blockDim.x + threadIdx.x; offset < count; offset += stride) {
        word nonce = first + offset;
        if (__byte_perm(last_word(&fixed, nonce), 0, 0x0123) <= limit) {
            word place = 1 + atomicAdd(found, 1u);
            if (place <= capacity) found[place] = nonce;
        }
    }
}

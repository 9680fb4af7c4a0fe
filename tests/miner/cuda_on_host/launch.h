/* Every thread of every block, in turn. */

void launch(unsigned int blocks, unsigned int threads, const struct fixed *fixed, word limit,
            word first, word count, word capacity, word *found) {
    gridDim.x = blocks;
    blockDim.x = threads;
    for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++)
        for (threadIdx.x = 0; threadIdx.x < threads; threadIdx.x++)
            search(*fixed, limit, first, count, capacity, found);
}

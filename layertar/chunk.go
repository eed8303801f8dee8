package layertar

import (
	"math/bits"
	"sync"
)

// chunkSize is how much of a file one job writes. A file of at most this size is small:
// one job creates it.
const chunkSize = 1 << maxChunkBits

// The smallest and the largest chunk are 16 KiB, enough for most small files, and 256 KiB.
const (
	minChunkBits = 14
	maxChunkBits = 18
)

// chunks has a pool for each power of two.
var chunks [maxChunkBits - minChunkBits + 1]sync.Pool

// chunk is a piece of a file's content in a pooled buffer; free returns it.
type chunk struct {
	data []byte
	free func()
}

// newChunk returns a chunk of n bytes, chunkSize at most.
func newChunk(n int64) chunk {
	size := max(bits.Len64(uint64(max(n, 1)-1)), minChunkBits)
	pool := &chunks[size-minChunkBits]
	buf, ok := pool.Get().(*[]byte)
	if !ok {
		b := make([]byte, 1<<size)
		buf = &b
	}
	return chunk{(*buf)[:n], func() { pool.Put(buf) }}
}

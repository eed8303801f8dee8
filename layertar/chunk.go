package layertar

import "sync"

// chunkSize is how much of a file one job writes. A file of at most this size is small:
// one job creates it.
const chunkSize = 256 << 10

// pageSize is large enough for most small files.
const pageSize = 16 << 10

var (
	chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}
	pages  = sync.Pool{New: func() any { return new([pageSize]byte) }}
)

// chunk is a piece of a file's content in a pooled buffer; free returns it.
type chunk struct {
	data []byte
	free func()
}

func newChunk(n int64) chunk {
	if n <= pageSize {
		buf := pages.Get().(*[pageSize]byte)
		return chunk{buf[:n], func() { pages.Put(buf) }}
	}
	buf := chunks.Get().(*[chunkSize]byte)
	return chunk{buf[:n], func() { chunks.Put(buf) }}
}

package layertar

import "sync"

// chunkSize is how much of a file one job writes. What fits is a small file,
// which is one job as a whole.
const chunkSize = 256 << 10

// pageSize is the room of most small files.
const pageSize = 16 << 10

var (
	chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}
	pages  = sync.Pool{New: func() any { return new([pageSize]byte) }}
)

// chunk is a piece of a file's content in a buffer that is used again.
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

package layertar

import (
	"bytes"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
)

// holeSize is the smallest aligned run of zeros that becomes a hole.
const holeSize = 4 << 10

var zeros [holeSize]byte

// writeData writes the parts of buf that are not holes, each in one call, and
// returns where the last one ended.
func writeData(fd int, buf []byte, off int64) (end int64, err error) {
	for from := 0; from < len(buf); {
		from += zeroPrefix(buf[from:])
		n := dataPrefix(buf[from:])
		if n == 0 {
			break
		}
		if err := fsat.WriteAt(fd, buf[from:from+n], off+int64(from)); err != nil {
			return 0, err
		}
		from += n
		end = off + int64(from)
	}
	return end, nil
}

// zeroPrefix returns the length of the whole zero blocks at the start of p.
func zeroPrefix(p []byte) (n int) {
	for isHole(p[n:]) {
		n += holeSize
	}
	return n
}

// dataPrefix returns the length of the data at the start of p, up to the first zero block.
func dataPrefix(p []byte) (n int) {
	for n < len(p) && !isHole(p[n:]) {
		n += holeSize
	}
	return min(n, len(p))
}

// isHole reports whether p begins with a whole block of zeros.
func isHole(p []byte) bool {
	return len(p) >= holeSize && bytes.Equal(p[:holeSize], zeros[:])
}

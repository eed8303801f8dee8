package vm

import (
	"bytes"
	"io"
)

// trailer ends a stream from the guest: a port has no end of file.
func trailer(nonce string) []byte { return []byte("\x00" + nonce + "\n") }

// copyToTrailer copies a stream up to its trailer, as it comes. It tells
// whether the trailer was there; without it the machine ended early. After an
// error of dst it reads on, so that the guest is not held up.
func copyToTrailer(dst io.Writer, src io.Reader, end []byte) (complete bool, err error) {
	var held []byte // what may be the begin of the trailer
	buffer := make([]byte, 64<<10)
	for {
		n, readErr := src.Read(buffer)
		held = append(held, buffer[:n]...)
		at := bytes.Index(held, end)
		safe := at
		if at < 0 {
			safe = len(held) - partialSuffix(held, end)
		}
		if at < 0 && readErr != nil {
			safe = len(held)
		}
		if err == nil && safe > 0 {
			_, err = dst.Write(held[:safe])
		}
		if at >= 0 {
			return true, err
		}
		held = append(held[:0], held[safe:]...)
		if readErr != nil {
			return false, err
		}
	}
}

// partialSuffix is the length of the longest end of data that begins pattern.
func partialSuffix(data, pattern []byte) int {
	for n := min(len(data), len(pattern)-1); n > 0; n-- {
		if bytes.HasSuffix(data, pattern[:n]) {
			return n
		}
	}
	return 0
}

package dockerstore

import (
	"archive/tar"
	"bytes"
	"errors"
	"hash"
	"hash/crc64"
	"io"
	"strings"

	"github.com/vbatts/tar-split/tar/storage"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// TarEntry is an entry of a recorded tar.
type TarEntry struct {
	Header *tar.Header
	// Size is the size of the content that Checksum covers. For a sparse file that is the
	// size of the file, not of the part that the tar has.
	Size     int64
	Checksum uint64 // CRC-64; see NewChecksum
	// Sparse is set for a sparse file. tar-split records its content without the holes'
	// places, so the tar cannot be written again.
	Sparse bool
}

// NewChecksum returns the hash of TarEntry.Checksum.
func NewChecksum() hash.Hash64 { return crc64.New(storage.CRCTable) }

const tarBlock = 512

// readEntries parses the headers in the segments of a record. A segment begins with the
// padding of the content before it; headers are whole blocks.
func readEntries(name string, record io.Reader, yield func(TarEntry) error) error {
	unpacker := newUnpacker(name, record)
	var segment []byte
	tooLong := false
	for {
		entry, err := unpacker.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if entry.Type == storage.SegmentType {
			// Nothing but the padding at the tar's end is that long.
			if tooLong = tooLong || len(segment)+len(entry.Payload) > maxEntry; !tooLong {
				segment = append(segment, entry.Payload...)
			}
			continue
		}
		if tooLong {
			return Damage{name, fault.New(fault.UnsafeInput, "the headers of %.200q are longer than %d bytes", entry.GetName(), maxEntry)}
		}
		parsed, err := parseEntry(segment[len(segment)%tarBlock:], entry)
		if err != nil {
			parsed, err = parseGlobalHeader(segment, entry, err)
		}
		if err != nil {
			return Damage{name, fault.New(fault.Invalid, "the header of %.200q: %w", entry.GetName(), err)}
		}
		if err := yield(parsed); err != nil {
			return err
		}
		segment = segment[:0]
	}
}

// emptySparseMap is a map of no parts, as a sparse file of PAX version 1.0 has it before its
// content. tar-split does not record that map.
var emptySparseMap = append([]byte("0\n"), make([]byte, tarBlock-2)...)

// parseGlobalHeader finds a global header of PAX in a segment, or returns cause. tar-split
// ends that segment with the header's records, and begins the next one with their padding:
// no whole blocks.
func parseGlobalHeader(segment []byte, entry *storage.Entry, cause error) (TarEntry, error) {
	for padding := 0; padding < tarBlock && padding+tarBlock <= len(segment); padding++ {
		if segment[padding+typeflagOffset] != tar.TypeXGlobalHeader {
			continue
		}
		if parsed, err := parseEntry(segment[padding:], entry); err == nil {
			return parsed, nil
		}
	}
	return TarEntry{}, cause
}

// typeflagOffset is where a header has its type.
const typeflagOffset = 156

func parseEntry(headers []byte, entry *storage.Entry) (TarEntry, error) {
	header, err := tar.NewReader(io.MultiReader(bytes.NewReader(headers), bytes.NewReader(emptySparseMap))).Next()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return TarEntry{}, err
	}
	e := TarEntry{Header: header, Size: entry.Size, Sparse: header.Typeflag == tar.TypeGNUSparse}
	for key := range header.PAXRecords {
		e.Sparse = e.Sparse || strings.HasPrefix(key, sparseKeys)
	}
	for _, b := range entry.Payload {
		e.Checksum = e.Checksum<<8 | uint64(b)
	}
	return e, nil
}

// sparseKeys begins the PAX records of a sparse file.
const sparseKeys = "GNU.sparse."

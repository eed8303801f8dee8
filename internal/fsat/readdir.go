package fsat

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// DirEntry is a name in a directory and the type that getdents reports.
type DirEntry struct {
	Name string
	Type uint8 // unix.DT_*; DT_UNKNOWN on a file system that does not store types
	next int64 // the position of the entry after it
}

// The layout of struct linux_dirent64: d_ino u64, d_off i64, d_reclen u16,
// d_type u8, then the name and a NUL.
const (
	direntOff    = 8
	direntReclen = 16
	direntType   = 18
	direntName   = 19
)

var direntBuffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// ReadDir returns all entries of the directory fd, in the directory's own order.
func ReadDir(fd int) ([]DirEntry, error) {
	buf := direntBuffers.Get().(*[64 << 10]byte)
	defer direntBuffers.Put(buf)
	if _, err := unix.Seek(fd, 0, 0); err != nil {
		return nil, pathError("seek", "", err)
	}
	var entries []DirEntry
	for {
		n, err := getdents(fd, buf[:])
		if err != nil || n == 0 {
			return entries, err
		}
		entries = appendEntries(entries, buf[:n])
	}
}

// readPortion returns the next entries of the directory fd, at most as many as a buffer holds,
// and none at its end.
func readPortion(fd int) ([]DirEntry, error) {
	buf := direntBuffers.Get().(*[64 << 10]byte)
	defer direntBuffers.Put(buf)
	for {
		n, err := getdents(fd, buf[:])
		if err != nil || n == 0 {
			return nil, err
		}
		if entries := appendEntries(nil, buf[:n]); len(entries) > 0 {
			return entries, nil
		}
	}
}

// Sort orders entries by the bytes of their names.
func Sort(entries []DirEntry) {
	slices.SortFunc(entries, func(a, b DirEntry) int { return strings.Compare(a.Name, b.Name) })
}

// IsEmpty reports whether the directory dirfd has no entry.
func IsEmpty(dirfd int) (bool, error) {
	fd, err := OpenDir(dirfd, ".")
	if err != nil {
		return false, err
	}
	defer CloseQuietly(fd)
	entries, err := ReadDir(fd)
	return len(entries) == 0, err
}

func getdents(fd int, buf []byte) (int, error) {
	var n int
	err := do("getdents", "", func() error {
		var err error
		n, err = unix.Getdents(fd, buf)
		return err
	})
	return n, err
}

// appendEntries parses a buffer of getdents and skips "." and "..".
func appendEntries(entries []DirEntry, buf []byte) []DirEntry {
	for len(buf) >= direntName {
		size := int(binary.NativeEndian.Uint16(buf[direntReclen:]))
		name, _, _ := bytes.Cut(buf[direntName:size], []byte{0})
		if s := string(name); s != "." && s != ".." {
			next := int64(binary.NativeEndian.Uint64(buf[direntOff:]))
			entries = append(entries, DirEntry{Name: s, Type: buf[direntType], next: next})
		}
		buf = buf[size:]
	}
	return entries
}

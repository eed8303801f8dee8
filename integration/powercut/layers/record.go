package layers

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// The states of a record, one letter each in what Records returns.
const (
	Whole   = 'w'
	Short   = 's' // the content's beginning
	Wrong   = 'x'
	Missing = '-'
)

// recordDir is the directory of a container's records. An image that was made
// of a container has it, and a container of that image another.
func recordDir(dir, id string) string { return filepath.Join(dir, "records-"+id[:12]) }

// WriteRecord writes the n-th record of a container, n from 1, into its mounted
// layer. A record is a file of its own.
func WriteRecord(dir, id string, n int, sync bool) error {
	path := recordDir(dir, id)
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	f, err := os.OpenFile(filepath.Join(path, strconv.Itoa(n)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(record(id, n)); err != nil {
		return err
	}
	if sync {
		return f.Sync()
	}
	return nil
}

// RecordsName is the name of the directory of a container's records.
func RecordsName(id string) string { return filepath.Base(recordDir("", id)) }

// largestCopyUp keeps copies within the limits of containers.
const largestCopyUp = 256 << 10

// Copyable lists the files of a mounted layer that CopyUp can take. A file with several
// links is left out, because its copy is a file of its own.
func Copyable(dir string) (files []string, err error) {
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		if st.Nlink == 1 && st.Size <= largestCopyUp {
			files = append(files, path)
		}
		return nil
	})
	return files, err
}

// CopyUp has overlayfs copy a file of the layers below up, and changes nothing else. The
// copy has to be like the file, whatever a power cut leaves of it.
func CopyUp(file string, sync bool) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if sync {
		return f.Sync()
	}
	return nil
}

func record(id string, n int) []byte {
	hash := fnv.New64()
	fmt.Fprintf(hash, "%s/%d", id, n)
	r := Random(hash.Sum64())
	return append(fmt.Appendf(nil, "record %d\n", n), Content(r, r.IntN(20_000))...)
}

// Records says of every record whether it is there, up to the last that is.
func Records(dir, id string) (string, error) {
	entries, err := os.ReadDir(recordDir(dir, id))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	var states []byte
	for _, entry := range entries {
		n, err := strconv.Atoi(entry.Name())
		if err != nil || n < 1 {
			return "", fmt.Errorf("%s is no record", entry.Name())
		}
		for len(states) < n {
			states = append(states, Missing)
		}
		if states[n-1], err = stateOf(filepath.Join(recordDir(dir, id), entry.Name()), record(id, n)); err != nil {
			return "", err
		}
	}
	return string(states), nil
}

func stateOf(path string, want []byte) (byte, error) {
	got, err := os.ReadFile(path)
	switch {
	case err != nil:
		return 0, err
	case bytes.Equal(got, want):
		return Whole, nil
	case bytes.HasPrefix(want, got):
		return Short, nil
	}
	return Wrong, nil
}

// Room is the size of the file system that a directory shows.
func Room(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Blocks) * st.Bsize, nil
}

package zfs

import (
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// maxName is ZFS_MAX_DATASET_NAME_LEN with its NUL (include/sys/fs/zfs.h).
const maxName = 256

// CheckDatasetName refuses what cannot be a file system's name, so that no
// unchecked string reaches the kernel. The rules are zfs_namecheck's.
func CheckDatasetName(name string) error {
	bad := func(why string) error {
		return fault.New(fault.Invalid, "dataset name %q %s: want pool/name", name, why)
	}
	if name == "" {
		return bad("is empty")
	}
	if len(name) >= maxName {
		return bad("is longer than 255 bytes")
	}
	if strings.ContainsAny(name, "@#") {
		return bad("names a snapshot or bookmark")
	}
	for _, part := range strings.Split(name, "/") {
		if part == "" || part == "." || part == ".." {
			return bad("has an empty or dot component")
		}
		if i := strings.IndexFunc(part, notNameRune); i >= 0 {
			return bad("has a character that ZFS does not allow")
		}
	}
	return nil
}

func notNameRune(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return false
	}
	return !strings.ContainsRune("-_.: %", r)
}

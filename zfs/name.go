package zfs

import (
	"fmt"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// Limits on names, with their NUL.
const (
	maxName     = 256  // ZFS_MAX_DATASET_NAME_LEN (include/sys/fs/zfs.h)
	maxProperty = 256  // ZAP_MAXNAMELEN (include/sys/zap.h)
	maxTag      = 256  // MAXNAMELEN
	maxString   = 8192 // ZAP_MAXVALUELEN (include/sys/zap.h)
)

// CheckDatasetName refuses an invalid name of a file system or volume, so that no unchecked
// string reaches the kernel. The rules are those of zfs_namecheck.
func CheckDatasetName(name string) error {
	bad := func(why string) error {
		return fault.New(fault.Invalid, "dataset name %.300q %s: want pool/name", name, why)
	}
	if strings.ContainsAny(name, "@#") {
		return bad("names a snapshot or bookmark")
	}
	if why := badDataset(name); why != "" {
		return bad(why)
	}
	return nil
}

// CheckSnapshotName refuses an invalid full name of a snapshot, pool/name@snapshot.
func CheckSnapshotName(name string) error {
	bad := func(why string) error {
		return fault.New(fault.Invalid, "snapshot name %.300q %s: want pool/name@snapshot", name, why)
	}
	dataset, snapshot, found := strings.Cut(name, "@")
	if !found {
		return bad("has no @")
	}
	if len(name) >= maxName {
		return bad("is longer than 255 bytes")
	}
	if why := badDataset(dataset); why != "" {
		return bad(why)
	}
	if snapshot == "" || strings.ContainsFunc(snapshot, func(r rune) bool { return r == '%' || notNameRune(r) }) {
		return bad("has a character after the @ that ZFS does not allow, or none at all")
	}
	return nil
}

// badDataset returns what is wrong with a dataset's name, or "".
func badDataset(name string) string {
	if name == "" {
		return "is empty"
	}
	if len(name) >= maxName {
		return "is longer than 255 bytes"
	}
	for _, part := range strings.Split(name, "/") {
		if part == "" || part == "." || part == ".." {
			return "has an empty or dot component"
		}
		if strings.ContainsFunc(part, notNameRune) {
			return "has a character that ZFS does not allow"
		}
	}
	return ""
}

func notNameRune(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return false
	}
	return !strings.ContainsRune("-_.: %", r)
}

// checkName refuses an invalid name of a dataset or snapshot.
func checkName(name string) error {
	if strings.Contains(name, "@") {
		return CheckSnapshotName(name)
	}
	return CheckDatasetName(name)
}

// checkPool refuses an invalid name of a pool.
func checkPool(name string) error {
	if strings.Contains(name, "/") {
		return fault.New(fault.Invalid, "pool name %.300q has a slash", name)
	}
	return CheckDatasetName(name)
}

// PoolOf returns the pool of a dataset, snapshot or bookmark.
func PoolOf(name string) string {
	if i := strings.IndexAny(name, "/@#"); i >= 0 {
		return name[:i]
	}
	return name
}

// checkProperty refuses an invalid name or value of a property. Whether the property exists
// is left to ZFS.
func checkProperty(op, dataset, name string, value Value) error {
	if err := checkPropertyName(name); err != nil {
		return invalid(op, dataset, "%v", err)
	}
	if value.isText && (len(value.text) >= maxString || strings.ContainsRune(value.text, 0)) {
		return invalid(op, dataset, "the value of property %s holds a NUL or is longer than %d bytes", name, maxString-1)
	}
	if why := badValue(name, value); why != "" {
		return invalid(op, dataset, "property %s cannot be %.300q: %s", name, value.String(), why)
	}
	return nil
}

// badValue returns what is wrong with a value, or "". The module would store such a value,
// because it leaves these checks to zfs(8).
func badValue(property string, value Value) string {
	switch n := value.number; {
	case property == "recordsize" && (n < 512 || n > 16<<20 || n&(n-1) != 0):
		return "want a power of two from 512 to 16777216"
	case property == "mountpoint" && value.text != "none" && value.text != "legacy" && !strings.HasPrefix(value.text, "/"):
		return "want an absolute path, none or legacy"
	}
	return ""
}

// checkPropertyName refuses an invalid name of a property, by the rules of zfs(8) for native
// properties, user properties and quotas, such as projectquota@1f4-.
func checkPropertyName(name string) error {
	if name == "" || len(name) >= maxProperty {
		return fmt.Errorf("the property name %.300q is empty or longer than 255 bytes", name)
	}
	for _, r := range name {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', strings.ContainsRune(":-_.@", r):
		default:
			return fmt.Errorf("the property name %q has a character that ZFS does not allow; upper case is one", name)
		}
	}
	return nil
}

// checkTag refuses an invalid tag of a hold.
func checkTag(op, snapshot, tag string) error {
	if tag == "" || len(tag) >= maxTag || strings.ContainsRune(tag, 0) {
		return invalid(op, snapshot, "the hold tag %.300q is empty, longer than 255 bytes, or holds a NUL", tag)
	}
	if tag[0] == '.' {
		return invalid(op, snapshot, "the hold tag %q begins with a dot, which ZFS keeps for itself", tag)
	}
	return nil
}

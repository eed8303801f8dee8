package layertar

import (
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
)

const (
	paxXattr      = "SCHILY.xattr."
	maxXattrName  = 255     // XATTR_NAME_MAX
	maxXattrValue = 1 << 16 // XATTR_SIZE_MAX
)

// Capabilities is the extended attribute that holds a program's capabilities.
const Capabilities = "security.capability"

// XattrName returns the name of the attribute that a PAX key ends with.
func XattrName(key string) string { return unescapeKey.Replace(key) }

// A PAX key cannot hold "=": GNU tar writes it as %3D, and % as %25.
var (
	escapeKey   = strings.NewReplacer("%", "%25", "=", "%3D")
	unescapeKey = strings.NewReplacer("%25", "%", "%3D", "=")
)

type xattr struct {
	name  string
	value []byte
}

// trustedPrefix begins the names of attributes that only the host's root sees. Overlayfs's
// own are among them.
const trustedPrefix = "trusted."

// parseXattrs returns the attributes among an entry's PAX records, by name. A layer must not
// set the trusted ones.
func parseXattrs(records map[string]string) (attrs, trusted []xattr, err error) {
	for _, key := range slices.Sorted(maps.Keys(records)) {
		name, ok := strings.CutPrefix(key, paxXattr)
		if !ok {
			continue
		}
		a := xattr{XattrName(name), []byte(records[key])}
		if err := a.check(); err != nil {
			return nil, nil, err
		}
		if strings.HasPrefix(a.name, trustedPrefix) {
			trusted = append(trusted, a)
		} else {
			attrs = append(attrs, a)
		}
	}
	return attrs, trusted, nil
}

// isACL reports whether the attribute carries permission bits.
func (a xattr) isACL() bool { return a.name == fsat.AccessACL }

func (a xattr) check() error {
	switch {
	case a.name == "" || len(a.name) > maxXattrName || strings.IndexByte(a.name, 0) >= 0:
		return fault.New(fault.UnsafeInput, "%s is no name of an extended attribute", quote(a.name))
	case len(a.value) > maxXattrValue:
		return fault.New(fault.UnsafeInput, "extended attribute %s has %d bytes, the most is %d", quote(a.name), len(a.value), maxXattrValue)
	}
	return nil
}

// tolerate drops the errors that overlay2 drops: a file system or user namespace that
// does not take the attribute. A file system without capabilities stays an error, because
// programs would not work.
func (a xattr) tolerate(err error) error {
	switch unwrapErrno(err) {
	case unix.EPERM:
		return nil
	case unix.ENOTSUP:
		if a.name == Capabilities {
			return fault.New(fault.Unsupported, "the file system stores no file capabilities: %w", err)
		}
		return nil
	}
	return err
}

// Offsets and versions of struct vfs_cap_data (linux/capability.h): a
// little-endian word whose top byte is the revision; revision 3 appends the
// user namespace's root ID.
const (
	capRevision  = 3
	capRevision2 = 2
	capRevision3 = 3
	capSize2     = 20
)

// PortableCapabilities returns capabilities that hold in every user namespace. Those bound
// to one namespace's root mean nothing elsewhere.
func PortableCapabilities(value []byte) []byte {
	if len(value) <= capSize2 || value[capRevision] != capRevision3 {
		return value
	}
	value = slices.Clone(value[:capSize2])
	value[capRevision] = capRevision2
	return value
}

package verify

import (
	"archive/tar"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/layertar"
	"github.com/overlayzfs/overlayzfs/operator/rebuild"
)

// paxXattr is the prefix of extended attributes in a tar.
const paxXattr = "SCHILY.xattr."

// comparedXattrs returns an entry's extended attributes that every store keeps:
// capabilities and those in the user namespace. All others depend on the host.
func comparedXattrs(header *tar.Header) map[string]string {
	xattrs := map[string]string{}
	for key, value := range header.PAXRecords {
		name, ok := strings.CutPrefix(key, paxXattr)
		if !ok {
			continue
		}
		if name = layertar.XattrName(name); name == layertar.Capabilities || strings.HasPrefix(name, "user.") {
			xattrs[name] = value
		}
	}
	return xattrs
}

// checkXattrs compares the user attributes of a file or directory. It ignores additional
// ones, because not every engine writes them to a tar. A difference is Unproven, because
// some file systems keep no such attributes, and no program of an image depends on them.
func (f *file) checkXattrs(dirfd int, name string) error {
	for _, attr := range slices.Sorted(maps.Keys(f.xattr)) {
		if attr == layertar.Capabilities {
			continue
		}
		got, has, err := readXattr(dirfd, name, attr)
		switch {
		case err != nil:
			return err
		case !has:
			return rebuild.Unproven{Err: fmt.Errorf("has lost the attribute %q", attr)}
		case got != f.xattr[attr]:
			return rebuild.Unproven{Err: fmt.Errorf("has another value of the attribute %q", attr)}
		}
	}
	return nil
}

func (f *file) checkCapabilities(dirfd int, name string) error {
	if f.capabilitiesUnclear {
		return nil
	}
	want, recorded := f.xattr[layertar.Capabilities]
	got, has, err := readXattr(dirfd, name, layertar.Capabilities)
	switch {
	case err != nil:
		return err
	case has && !recorded:
		return errors.New("has capabilities, recorded none")
	case recorded && !has:
		return errors.New("has lost its capabilities")
	case recorded && got != portableXattr(layertar.Capabilities, want):
		return errors.New("has other capabilities than recorded")
	}
	return nil
}

// readXattr reads an attribute in the form that a tar has. A file system without
// attributes has none.
func readXattr(dirfd int, name, attr string) (value string, has bool, err error) {
	raw, err := fsat.GetXattr(dirfd, name, attr)
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
		return "", false, nil
	}
	return portableXattr(attr, string(raw)), err == nil, err
}

func portableXattr(attr, value string) string {
	if attr != layertar.Capabilities {
		return value
	}
	return string(layertar.PortableCapabilities([]byte(value)))
}

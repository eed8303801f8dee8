package overlayfs

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
)

// Attributes of an upper directory, as root mounts write them.
const (
	XattrPrefix   = "trusted.overlay."
	OpaqueXattr   = XattrPrefix + "opaque"
	OpaqueValue   = "y"
	RedirectXattr = XattrPrefix + "redirect" // a directory renamed without its content
	MetacopyXattr = XattrPrefix + "metacopy" // a file whose data is still below
	OriginXattr   = XattrPrefix + "origin"   // the handle of the file that was copied up
)

// A whiteout's mode (but its permissions) and device number.
const (
	WhiteoutMode = unix.S_IFCHR
	WhiteoutNum  = 0
)

// IsWhiteout reports whether a file of that mode and device number is a whiteout.
func IsWhiteout(mode uint32, rdev uint64) bool {
	return mode&unix.S_IFMT == WhiteoutMode && rdev == WhiteoutNum
}

// IsOpaque reports whether a directory with that value of OpaqueXattr hides the
// one below it. Overlayfs also writes "x" there, which hides nothing.
func IsOpaque(value []byte) bool { return string(value) == OpaqueValue }

// IsOpaqueDir reports whether the upper directory fd hides the one below it.
func IsOpaqueDir(fd int) (bool, error) {
	value, err := fsat.GetXattrFD(fd, OpaqueXattr)
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
		return false, nil
	}
	return IsOpaque(value), err
}

// IsXattr reports whether the attribute is one of overlayfs. Set on a layer's file, it would
// change the meaning of the layer.
func IsXattr(name string) bool { return strings.HasPrefix(name, XattrPrefix) }

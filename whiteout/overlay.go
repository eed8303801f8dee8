package whiteout

import (
	"strings"

	"golang.org/x/sys/unix"
)

// Overlayfs's attributes of an upper directory, as root mounts write them.
const (
	XattrPrefix   = "trusted.overlay."
	OpaqueXattr   = XattrPrefix + "opaque"
	OpaqueValue   = "y"
	RedirectXattr = XattrPrefix + "redirect" // a directory renamed without its content
	MetacopyXattr = XattrPrefix + "metacopy" // a file whose data is still below
)

// Device is a whiteout's mode (but its permissions) and device number.
const (
	DeviceMode = unix.S_IFCHR
	DeviceNum  = 0
)

// IsDevice says whether a file of that mode and device number is a whiteout.
func IsDevice(mode uint32, rdev uint64) bool {
	return mode&unix.S_IFMT == DeviceMode && rdev == DeviceNum
}

// IsOpaque says whether a directory with that value of OpaqueXattr hides the
// one below it. Overlayfs also writes "x" there, which hides nothing.
func IsOpaque(value []byte) bool { return string(value) == OpaqueValue }

// IsOverlayXattr says whether overlayfs reads the attribute: set on a layer's
// file, it would change what the layer means.
func IsOverlayXattr(name string) bool { return strings.HasPrefix(name, XattrPrefix) }

package zfs

import (
	"bytes"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/versions"
)

// ABI describes the module behind a handle.
type ABI struct {
	Version string // as /sys/module/zfs/version has it, such as "2.3.9-1"
	// Known is true for versions whose headers were compared with this package. A newer
	// version is accepted, with Known false, when it answers the probe as the known ones do.
	Known bool
}

// probeName is a pool that cannot be there: zpool(8) and the module refuse to
// make one whose name begins with "mirror".
const probeName = "mirror-overlayzfs-abi-probe"

// checkABI refuses a module whose version is too old or whose argument block
// is not the known one.
func (h *Handle) checkABI() (ABI, error) {
	version, err := Version()
	if err != nil {
		return ABI{}, err
	}
	abi := ABI{Version: version}
	if abi.Known, err = knownVersion(version); err != nil {
		return ABI{}, err
	}
	return abi, h.probe(version)
}

// knownVersion reports whether a version lies in the range that was compared,
// and refuses what is older than that.
func knownVersion(version string) (bool, error) {
	v, ok := versions.Parse(version)
	if !ok {
		return false, unknownABI(version, "its version cannot be read")
	}
	if v.IsBefore(oldestKnown) {
		return false, unknownABI(version, "it is too old")
	}
	v[2] = 0 // the interface is the same throughout a minor version
	return !newestKnown.IsBefore(v), nil
}

// probe makes requests whose answers depend on the layout of struct zfs_cmd. None of them
// can change anything.
func (h *Handle) probe(version string) error {
	if got := h.ioctl(iocNone, newCommand()); got != errCmdUnavail {
		return unknownABI(version, fmt.Sprintf("an unknown request was answered with %q", describe(got)))
	}
	if got := h.probeSource(); got != unix.EOPNOTSUPP {
		return unknownABI(version, fmt.Sprintf("a malformed argument was answered with %q", describe(got)))
	}
	return h.probeSize(version)
}

// probeSource passes an argument in an encoding that does not exist. A module that finds
// address and size at their offsets reads the argument and refuses it. Another module finds
// no argument, and then no such pool.
func (h *Handle) probeSource() unix.Errno {
	c := newCommand()
	c.setName(probeName)
	_, errno := h.exchange(iocObjsetStats, c, bytes.Repeat([]byte{0xff}, 64), nil)
	return errno
}

// probeSize puts the block at the end of mapped memory. The module copies sizeof(struct
// zfs_cmd) bytes. A block of cmdSize must be answered, and one byte less must fault: then
// the size is exactly cmdSize.
func (h *Handle) probeSize(version string) error {
	page := unix.Getpagesize()
	inside := (cmdSize + page - 1) / page * page
	mem, err := unix.Mmap(-1, 0, inside+page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return fmt.Errorf("map memory to probe the zfs module: %w", err)
	}
	defer func() { _ = unix.Munmap(mem) }()
	if err := unix.Mprotect(mem[inside:], unix.PROT_NONE); err != nil {
		return fmt.Errorf("protect memory to probe the zfs module: %w", err)
	}
	for _, try := range []struct {
		size int
		want unix.Errno
	}{{cmdSize, unix.ENOENT}, {cmdSize - 1, unix.EFAULT}} {
		c := command(mem[inside-try.size : inside])
		clear(c)
		c.setName(probeName)
		if got := h.ioctl(iocObjsetStats, c); got != try.want {
			return unknownABI(version, fmt.Sprintf("an argument of %d bytes was answered with %q", try.size, describe(got)))
		}
	}
	return nil
}

func unknownABI(version, why string) error {
	return &Error{
		Op:     "open",
		Kind:   ErrUnknownABI,
		reason: fmt.Sprintf("the zfs module %s is not supported: %s", version, why),
		remedy: fmt.Sprintf("OpenZFS %d.%d to %d.%d are known to work", oldestKnown[0], oldestKnown[1], newestKnown[0], newestKnown[1]),
	}
}

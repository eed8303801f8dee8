package whiteout

import (
	"errors"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/overlayfs"
)

// zfsWithOverlay is the first OpenZFS that overlayfs accepts as an upper. It has the rename
// flags, and its O_TMPFILE works with Linux 6.1 and later.
const zfsWithOverlay = "OpenZFS 2.2 or later"

// features are the features that overlayfs and Docker's layers need.
var features = []feature{
	{"RENAME_WHITEOUT", zfsWithOverlay, "CAP_MKNOD", tryRenameWhiteout},
	{"RENAME_EXCHANGE", zfsWithOverlay, "", tryRenameExchange},
	{"O_TMPFILE", zfsWithOverlay, "", tryTmpfile},
	{"set trusted.* extended attributes", "OpenZFS with xattr=on or xattr=sa", "CAP_SYS_ADMIN", tryTrustedXattr},
	{"tell file types in directories (d_type)", "a file system that stores them (XFS: ftype=1)", "", tryDirentType},
	{"tell upper from lower case", "create the dataset with casesensitivity=sensitive", "", tryCase},
	{"keep names that are not UTF-8", "create the dataset with utf8only=off and normalization=none", "", tryAnyName},
	{"make whiteout devices (mknod 0:0)", "a mount without nodev, on a file system with devices", "CAP_MKNOD", tryMknod},
}

func tryRenameWhiteout(sys system, dir string) error {
	from, to := filepath.Join(dir, "whiteout-from"), filepath.Join(dir, "whiteout-to")
	if err := sys.create(from); err != nil {
		return err
	}
	if err := sys.rename(from, to, unix.RENAME_WHITEOUT); err != nil {
		return err
	}
	return expectWhiteout(sys, from)
}

func tryRenameExchange(sys system, dir string) error {
	a, b := filepath.Join(dir, "exchange-a"), filepath.Join(dir, "exchange-b")
	if err := sys.create(a); err != nil {
		return err
	}
	if err := sys.mkdir(b); err != nil {
		return err
	}
	return sys.rename(a, b, unix.RENAME_EXCHANGE)
}

func tryTmpfile(sys system, dir string) error {
	return sys.tmpfile(dir, filepath.Join(dir, "tmpfile"))
}

func tryTrustedXattr(sys system, dir string) error {
	return sys.setXattr(dir, overlayfs.OpaqueXattr, []byte(overlayfs.OpaqueValue))
}

func tryDirentType(sys system, dir string) error {
	sub := filepath.Join(dir, "types")
	if err := sys.mkdir(sub); err != nil {
		return err
	}
	if err := sys.create(filepath.Join(sub, "file")); err != nil {
		return err
	}
	typ, err := sys.firstType(sub)
	if err == nil && typ != unix.DT_REG {
		return errAbsent
	}
	return err
}

func tryCase(sys system, dir string) error {
	if err := sys.create(filepath.Join(dir, "case")); err != nil {
		return err
	}
	_, _, err := sys.lstat(filepath.Join(dir, "CASE"))
	switch {
	case err == nil:
		return errAbsent
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return err
}

// tryAnyName detects utf8only, which normalization implies. With normalization, two names of
// a layer could become one.
func tryAnyName(sys system, dir string) error {
	err := sys.create(filepath.Join(dir, "\xff"))
	if errors.Is(err, unix.EILSEQ) {
		return errAbsent
	}
	return err
}

func tryMknod(sys system, dir string) error {
	path := filepath.Join(dir, "device")
	if err := sys.mknod(path, overlayfs.WhiteoutMode, overlayfs.WhiteoutNum); err != nil {
		return err
	}
	return expectWhiteout(sys, path)
}

// expectWhiteout checks that a call that reported success made a whiteout.
func expectWhiteout(sys system, path string) error {
	mode, rdev, err := sys.lstat(path)
	if err == nil && !overlayfs.IsWhiteout(mode, rdev) {
		return errAbsent
	}
	return err
}

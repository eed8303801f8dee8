package treecopy

import (
	"errors"
	"io/fs"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/internal/overlayfs"
)

// clear makes way for a directory of the upper: what is there and no directory
// goes, and all of it if the upper's hides it.
func (c *copier) clear(name string, upper int) error {
	to, err := c.to.Dir(dirOf(name), nil)
	if err != nil {
		return err
	}
	st, err := fsat.Stat(to, path.Base(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	hidden, err := overlayfs.IsOpaqueDir(upper)
	if err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR && !hidden {
		c.dirs[name] = true
		c.order = append(c.order, name)
		return nil
	}
	return fsat.RemoveAll(c.ctx, to, path.Base(name))
}

// replace makes way for a file of the upper. It reports whether that is all: the
// file says that nothing is there.
func (c *copier) replace(from, to int, base string) (gone bool, err error) {
	st, err := fsat.Stat(from, base)
	if err != nil {
		return false, err
	}
	return overlayfs.IsWhiteout(st.Mode, st.Rdev), fsat.RemoveAll(c.ctx, to, base)
}

// selinuxXattr is a label that every file has, and that cannot be taken away.
const selinuxXattr = "security.selinux"

// dropXattrs takes away the attributes of what was there which the original does not
// have. The marks of an upper directory stay.
func (c *copier) dropXattrs(to int, base string, keep []string) error {
	names, err := fsat.ListXattr(to, base)
	if err != nil {
		return err
	}
	for _, name := range names {
		if slices.Contains(keep, name) || name == selinuxXattr || c.repairs && overlayfs.IsXattr(name) {
			continue
		}
		if err := fsat.RemoveXattr(to, base, name); err != nil {
			return err
		}
	}
	return nil
}

package treecopy

import (
	"errors"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/internal/overlayfs"
)

// file copies anything but a directory. base is its name in both directories,
// name its path.
func (c *copier) file(from, to int, base, name string) error {
	st, err := fsat.Stat(from, base)
	if err != nil {
		return err
	}
	if first, ok := c.links[fsat.InodeOf(st)]; ok && st.Nlink > 1 {
		return c.link(first, to, base)
	}
	if err := c.make(from, to, base, st); err != nil {
		return err
	}
	if st.Nlink > 1 {
		c.links[fsat.InodeOf(st)] = name
	}
	if overlayfs.IsWhiteout(st.Mode, st.Rdev) && !c.verbatim {
		return nil
	}
	return c.attributes(from, to, base, st)
}

// link makes another name of a file that was copied already. The directory that
// is cached may be another one afterwards, so what is made comes last.
func (c *copier) link(first string, to int, base string) error {
	keep, err := fsat.Dup(to)
	if err != nil {
		return err
	}
	defer fsat.CloseQuietly(keep)
	old, err := c.to.Dir(dirOf(first), nil)
	if err != nil {
		return err
	}
	return fsat.Link(old, path.Base(first), keep, base)
}

// make makes the entry with its content.
func (c *copier) make(from, to int, base string, st unix.Stat_t) error {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return c.content(from, to, base, st)
	case unix.S_IFLNK:
		target, err := fsat.Readlink(from, base)
		if err != nil {
			return err
		}
		return fsat.Symlink(target, to, base)
	}
	if overlayfs.IsWhiteout(st.Mode, st.Rdev) {
		return fsat.Mknod(to, base, overlayfs.WhiteoutMode, overlayfs.WhiteoutNum)
	}
	return fsat.Mknod(to, base, st.Mode&unix.S_IFMT|0o600, st.Rdev)
}

// attributes gives the copy what its original has, the times last.
func (c *copier) attributes(from, to int, base string, st unix.Stat_t) error {
	if err := fsat.Chown(to, base, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK { // whose mode is not to be set
		if err := fsat.Chmod(to, base, st.Mode&0o7777); err != nil {
			return err
		}
	}
	if err := c.xattrs(from, to, base); err != nil {
		return err
	}
	return fsat.SetTimes(to, base, timeOf(st.Atim), timeOf(st.Mtim))
}

func timeOf(t unix.Timespec) time.Time { return time.Unix(t.Sec, t.Nsec) }

// xattrs copies extended attributes. Of overlayfs's own only the mark of an
// opaque directory means something in another place.
func (c *copier) xattrs(from, to int, base string) error {
	names, err := fsat.ListXattr(from, base)
	if err != nil {
		return err
	}
	if c.merges || c.repairs {
		if err := c.dropXattrs(to, base, names); err != nil {
			return err
		}
	}
	if c.repairs {
		return c.repairXattrs(from, to, base, names)
	}
	for _, name := range names {
		value, err := fsat.GetXattr(from, base, name)
		if err != nil {
			return err
		}
		keep := true
		if !c.verbatim {
			keep, err = wanted(name, value)
		}
		if err == nil && c.innerXattr(name) {
			err = inner("it has the attribute " + name)
		}
		if err != nil {
			return err
		}
		if !keep || c.merges && name == overlayfs.OpaqueXattr {
			continue
		}
		if err := fsat.SetXattr(to, base, name, value); err != nil {
			return err
		}
	}
	return nil
}

// repairXattrs copies what an upper directory can hold, and remembers what is lost.
func (c *copier) repairXattrs(from, to int, base string, names []string) error {
	for _, name := range names {
		if !isOwnXattr(name) {
			if overlayfs.IsXattr(name) && !slices.Contains(ofPlace, name) {
				c.lost = append(c.lost, base+" ("+name+")")
			}
			continue
		}
		value, err := fsat.GetXattr(from, base, name)
		if err != nil {
			return err
		}
		err = fsat.SetXattr(to, base, name, value)
		if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.E2BIG) || errors.Is(err, unix.ERANGE) {
			c.lost, err = append(c.lost, base+" ("+name+")"), nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// innerXattr reports whether an attribute is one of an overlay in the container, for
// which it would not be any more in the other tree.
func (c *copier) innerXattr(name string) bool {
	return c.merges && strings.HasPrefix(name, nestedXattrs) ||
		c.plain && overlayfs.IsXattr(name) && !slices.Contains(ofPlace, name)
}

func inner(what string) error {
	return fault.New(fault.Unsupported, "%s of an overlay in the container, such as a Docker in it has whose layers lie in no volume: remove that with the old driver first", what)
}

// wanted says whether an attribute is copied.
func wanted(name string, value []byte) (bool, error) {
	switch name {
	case overlayfs.RedirectXattr, overlayfs.MetacopyXattr:
		return false, fault.New(fault.Unsupported, "it has the attribute %s: part of it lies in another layer, which overlayfs does with redirect_dir or metacopy on; commit the container, or build the image again, with both off", name)
	case overlayfs.OpaqueXattr:
		return overlayfs.IsOpaque(value), nil
	}
	if strings.HasPrefix(name, nestedXattrs) {
		return true, nil
	}
	if strings.HasPrefix(name, btrfsXattrs) {
		return false, nil
	}
	if overlayfs.IsXattr(name) && !slices.Contains(ofPlace, name) {
		return false, fault.New(fault.Unsupported, "it has the attribute %s of overlayfs, of which nobody here knows what it means", name)
	}
	return !overlayfs.IsXattr(name), nil
}

// nestedXattrs begins the names under which an overlay keeps what an overlay on it has
// written: content like any other.
const nestedXattrs = overlayfs.XattrPrefix + "overlay."

// btrfsXattrs begins the names of what btrfs is told of a file, such as how to compress
// it: no other file system takes that.
const btrfsXattrs = "btrfs."

// ofPlace are the attributes that overlayfs writes for itself, about where a file came
// from: it does without.
var ofPlace = []string{"trusted.overlay.origin", "trusted.overlay.impure", "trusted.overlay.nlink", "trusted.overlay.upper", "trusted.overlay.uuid"}

// dirAttributes gives a directory that was made what its original has.
func (c *copier) dirAttributes(name string) error {
	if name == "" {
		return wrapEntryError(".", c.rootAttributes())
	}
	from, err := c.from.Dir(dirOf(name), nil)
	if err != nil {
		return err
	}
	to, err := c.to.Dir(dirOf(name), nil)
	if err != nil {
		return err
	}
	st, err := fsat.Stat(from, path.Base(name))
	if err != nil {
		return wrapEntryError(name, err)
	}
	return wrapEntryError(name, c.attributes(from, to, path.Base(name), st))
}

func (c *copier) rootAttributes() error {
	st, err := fsat.StatFD(c.src)
	if err != nil {
		return err
	}
	return c.attributes(c.src, c.dst, ".", st)
}

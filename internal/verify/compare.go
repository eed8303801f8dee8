package verify

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/whiteout"
)

// compare makes sure that what the tar names is there as it says, and nothing
// else.
func (e *entries) compare(ctx context.Context, dir *os.File, base bool) error {
	t := &there{root: int(dir.Fd()), base: base, named: e.byPath, known: map[uint64]bool{}, resolver: fsat.NewResolver(int(dir.Fd()))}
	defer t.resolver.Forget()
	for _, name := range slices.Sorted(maps.Keys(e.byPath)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := t.entry(name, e.byPath[name]); err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
	}
	return fsat.Walk(ctx, t.root, false, t)
}

// there is what is on disk.
type there struct {
	root     int
	base     bool
	named    map[string]*tar.Header
	known    map[uint64]bool // inodes of what the tar names
	resolver *fsat.Resolver
}

// entry looks at what stands for an entry of the tar.
func (t *there) entry(name string, header *tar.Header) error {
	kind, target, err := whiteout.Classify(name)
	if err != nil {
		return errUnproven{err}
	}
	switch kind {
	case whiteout.Metadata:
		return nil
	case whiteout.Opaque:
		return t.opaque(target)
	case whiteout.Whiteout:
		return t.whiteout(target)
	case whiteout.None:
	}
	st, err := t.stat(name)
	if err != nil {
		return err
	}
	return same(header, st)
}

func (t *there) stat(name string) (st unix.Stat_t, err error) {
	dir, base := path.Split(name)
	dirfd, err := t.resolver.Dir(strings.TrimSuffix(dir, "/"), nil)
	if err == nil {
		st, err = fsat.Stat(dirfd, base)
	}
	if errors.Is(err, unix.ENOENT) {
		return st, errors.New("is missing")
	}
	t.known[st.Ino] = true
	return st, err
}

// same compares what a tar's header and the file system both know.
func same(header *tar.Header, st unix.Stat_t) error {
	types := map[byte]uint32{
		tar.TypeReg: unix.S_IFREG, tar.TypeGNUSparse: unix.S_IFREG, tar.TypeDir: unix.S_IFDIR, tar.TypeSymlink: unix.S_IFLNK,
		tar.TypeChar: unix.S_IFCHR, tar.TypeBlock: unix.S_IFBLK, tar.TypeFifo: unix.S_IFIFO,
	}
	want, ok := types[header.Typeflag]
	if !ok { // a hard link, which has the attributes of the entry that came last
		return nil
	}
	if got := st.Mode & unix.S_IFMT; got != want {
		return fmt.Errorf("is of type %#o, recorded %#o", got, want)
	}
	if int(st.Uid) != header.Uid || int(st.Gid) != header.Gid {
		return fmt.Errorf("belongs to %d:%d, recorded %d:%d", st.Uid, st.Gid, header.Uid, header.Gid)
	}
	if got, mode := st.Mode&0o7777, uint32(header.Mode&0o7777); got != mode && want != unix.S_IFLNK {
		return fmt.Errorf("has mode %#o, recorded %#o", got, mode)
	}
	return nil
}

// whiteout looks for a deletion. What the layer itself has at that place hides
// what is below as well.
func (t *there) whiteout(target string) error {
	st, err := t.stat(target)
	if err != nil {
		return fmt.Errorf("the deletion of %q %w", target, err)
	}
	if _, own := t.named[target]; !own && st.Mode&unix.S_IFMT != unix.S_IFDIR && !whiteout.IsDevice(st.Mode, st.Rdev) {
		return fmt.Errorf("the deletion of %q is no whiteout", target)
	}
	return nil
}

// opaque looks for the mark of a directory that hides the one below.
func (t *there) opaque(target string) error {
	if target == "." && t.base {
		return nil
	}
	if _, err := t.stat(target); err != nil {
		return err
	}
	dir, base := path.Split(target)
	dirfd, err := t.resolver.Dir(strings.TrimSuffix(dir, "/"), nil)
	if err != nil {
		return err
	}
	value, err := fsat.GetXattr(dirfd, base, whiteout.OpaqueXattr)
	if errors.Is(err, unix.ENODATA) || err == nil && string(value) != whiteout.OpaqueValue {
		return errors.New("does not hide the directory below it")
	}
	return err
}

// Enter is part of fsat.Visitor. Directories that no entry names lead to those
// that are named.
func (t *there) Enter(int, fsat.Path, int) error { return nil }

// File is part of fsat.Visitor.
func (t *there) File(parent int, at fsat.Path, _ uint8) error {
	st, err := fsat.Stat(parent, at.Name)
	if err != nil {
		return err
	}
	if !t.known[st.Ino] && st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return fmt.Errorf("%q is there, and the tar does not name it", at.String())
	}
	return nil
}

// Leave is part of fsat.Visitor.
func (t *there) Leave(int, fsat.Path) error { return nil }

package treecopy

import (
	"context"
	"errors"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/internal/overlayfs"
	"github.com/overlayzfs/overlayzfs/internal/treestack"
)

// Content says how Repair finds that a file has other content than the one below.
type Content int

// The ways to compare content.
const (
	// BySizeAndTime takes files of one size and time for the same.
	BySizeAndTime Content = iota
	// ByInode is for a tree that the file system has cloned from the one below: each file
	// that was not touched has its inode and its time of change.
	ByInode
	// ByReading reads both files.
	ByReading
)

// Repaired says what Repair did.
type Repaired struct {
	Entries int // how many entries of the upper directory it changed
	// Lost are the paths that lost something which an overlay's upper directory cannot hold:
	// marks of overlayfs, and attributes that the file system refuses.
	Lost []string
}

// Repair changes upper until an overlay of it over below shows the tree want: types, owners,
// modes, times, hard links, targets, extended attributes. below is nil for a base layer. An
// upper directory that is empty becomes the difference of the trees.
//
// The content of a file that upper has already is taken for right, unless its size or time
// differs. content says how the others are compared with below.
func Repair(ctx context.Context, upper, want, below *os.File, content Content, o Options) (Repaired, error) {
	p := &repairPlan{ctx: ctx, content: content, puts: map[string]repair{}, wantFirst: map[fsat.Inode]string{}, gotFirst: map[fsat.Inode]string{}, groups: map[fsat.Inode][]string{}}
	layers := []*os.File{upper}
	if below != nil {
		layers = append(layers, below)
	}
	if err := p.compareRoot(int(want.Fd()), treestack.Root(layers...)); err != nil {
		return Repaired{}, err
	}
	c := newCopier(ctx, upper, want, o)
	defer c.close()
	c.plain, c.repairs = true, true
	if err := c.repair(p.list()); err != nil {
		return Repaired{}, err
	}
	return Repaired{len(p.puts), c.lost}, nil
}

// repair is what has to be done to one path of the upper directory.
type repair struct {
	action
	opaque bool // what is below shows otherwise
}

type action int

const (
	drop      action = iota // remove the entry, so that the one below shows
	whiteOut                // remove the entry, and hide the one below
	put                     // copy the file, or make the directory
	attribute               // set the attributes of what is there; a directory may have to be made
)

// repair carries out repairs, parents first.
func (c *copier) repair(paths []string, repairs map[string]repair) error {
	for _, name := range paths {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		if err := wrapEntryError(name, c.repairEntry(name, repairs[name])); err != nil {
			return err
		}
	}
	if len(paths) == 0 {
		return nil
	}
	return c.finish()
}

func (c *copier) repairEntry(name string, r repair) error {
	if name == "" {
		return nil // finish sets the root's attributes
	}
	if err := c.makeParents(dirOf(name)); err != nil {
		return err
	}
	to, err := c.to.Dir(dirOf(name), nil)
	if err != nil {
		return err
	}
	base := path.Base(name)
	if r.action == drop || r.action == whiteOut || r.action == put {
		if err := fsat.RemoveAll(c.ctx, to, base); err != nil {
			return err
		}
		c.to.Forget()
		if to, err = c.to.Dir(dirOf(name), nil); err != nil {
			return err
		}
	}
	switch r.action {
	case drop:
		return nil
	case whiteOut:
		return fsat.Mknod(to, base, overlayfs.WhiteoutMode, overlayfs.WhiteoutNum)
	}
	from, err := c.from.Dir(dirOf(name), nil)
	if err != nil {
		return err
	}
	st, err := fsat.Stat(from, base)
	if err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		if r.action == attribute {
			return c.attributes(from, to, base, st)
		}
		return c.file(from, to, base, name)
	}
	if err := c.makeDir(name); err != nil || !r.opaque {
		return err
	}
	return fsat.SetXattr(to, base, overlayfs.OpaqueXattr, []byte(overlayfs.OpaqueValue))
}

// repairPlan compares the trees and collects what has to be done.
type repairPlan struct {
	ctx     context.Context
	content Content
	puts    map[string]repair
	// The first path of each file that has several, in the one tree and in the other: names
	// are one file in both trees if their first paths are the same.
	wantFirst, gotFirst map[fsat.Inode]string
	groups              map[fsat.Inode][]string // all paths of such a file of the wanted tree
}

// list returns the paths to repair, parents first, and the repairs. All names of a file are
// copied when one is.
func (p *repairPlan) list() ([]string, map[string]repair) {
	for _, group := range p.groups {
		copied := slices.ContainsFunc(group, func(name string) bool {
			r, ok := p.puts[name]
			return ok && r.action == put
		})
		for _, name := range group {
			if copied {
				p.puts[name] = repair{action: put}
			}
		}
	}
	paths := make([]string, 0, len(p.puts))
	for name := range p.puts {
		paths = append(paths, name)
	}
	slices.Sort(paths)
	return paths, p.puts
}

func (p *repairPlan) add(name string, a action) { p.puts[name] = repair{action: a} }

func (p *repairPlan) compareRoot(want int, got treestack.Dir) error {
	n, err := fsat.StatFD(want)
	if err != nil {
		return err
	}
	o, err := fsat.StatFD(got.FD())
	if err != nil {
		return err
	}
	if differs, err := p.attributesDiffer(want, got.FD(), ".", n, o); err != nil || differs {
		p.add("", attribute)
		if err != nil {
			return err
		}
	}
	return p.compareDirs("", want, &got)
}

// compareDirs compares two directories. got is nil when the upper directory has none.
func (p *repairPlan) compareDirs(dir string, want int, got *treestack.Dir) error {
	if err := p.ctx.Err(); err != nil {
		return err
	}
	entries, err := fsat.ReadDir(want)
	if err != nil {
		return err
	}
	fsat.Sort(entries)
	seen := make(map[string]bool, len(entries))
	for _, e := range entries {
		st, err := fsat.Stat(want, e.Name)
		if err != nil {
			return wrapEntryError(dir+e.Name, err)
		}
		if overlayfs.IsWhiteout(st.Mode, st.Rdev) {
			continue // a device that no overlay can show
		}
		seen[e.Name] = true
		if err := p.compareEntry(dir, want, got, e.Name, st); err != nil {
			return wrapEntryError(dir+e.Name, err)
		}
	}
	if got == nil {
		return nil
	}
	return p.compareRest(dir, *got, seen)
}

// compareRest removes the names that the wanted directory does not have.
func (p *repairPlan) compareRest(dir string, got treestack.Dir, seen map[string]bool) error {
	names, err := got.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if seen[name] {
			continue
		}
		below, err := findBelow(got, name)
		if err != nil {
			return wrapEntryError(dir+name, err)
		}
		p.add(dir+name, drop)
		if below != nil {
			p.add(dir+name, whiteOut)
		}
	}
	return nil
}

// findBelow returns what the layers below show, or nil.
func findBelow(got treestack.Dir, name string) (*treestack.Entry, error) {
	below, ok := got.Below()
	if !ok {
		return nil, nil
	}
	e, err := below.Find(name)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	return &e, err
}

func (p *repairPlan) compareEntry(dir string, want int, got *treestack.Dir, name string, st unix.Stat_t) error {
	isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	shown, err := findShown(got, name)
	if err != nil {
		return err
	}
	if !isDir {
		return p.compareFile(dir, want, got, name, st, shown)
	}
	if shown == nil || !shown.IsDir() {
		below := (*treestack.Entry)(nil)
		if got != nil {
			if below, err = findBelow(*got, name); err != nil {
				return err
			}
		}
		p.puts[dir+name] = repair{put, below != nil && below.IsDir()}
		return p.descend(dir+name+"/", want, name, nil)
	}
	differs, err := p.attributesDiffer(want, shown.Dir, name, st, shown.Stat)
	if err != nil {
		return err
	}
	if differs {
		p.add(dir+name, attribute)
	}
	return p.descend(dir+name+"/", want, name, got)
}

func findShown(got *treestack.Dir, name string) (*treestack.Entry, error) {
	if got == nil {
		return nil, nil
	}
	e, err := got.Find(name)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	return &e, err
}

// descend compares the content of a directory.
func (p *repairPlan) descend(dir string, want int, name string, got *treestack.Dir) error {
	fd, err := fsat.OpenDir(want, name)
	if err != nil {
		return err
	}
	defer fsat.CloseQuietly(fd)
	if got == nil {
		return p.compareDirs(dir, fd, nil)
	}
	next, err := got.Open(name)
	if err != nil {
		return err
	}
	defer next.Close()
	return p.compareDirs(dir, fd, &next)
}

func (p *repairPlan) compareFile(dir string, want int, got *treestack.Dir, name string, st unix.Stat_t, shown *treestack.Entry) error {
	file := dir + name
	otherLinks := p.linksDiffer(file, st, shown)
	if shown == nil || otherLinks {
		p.add(file, put)
		return nil
	}
	differs, err := p.contentDiffers(want, *shown, name, st)
	if err != nil {
		return err
	}
	if !differs {
		if differs, err = p.attributesDiffer(want, shown.Dir, name, st, shown.Stat); err != nil || !differs {
			return err
		}
		if shown.Layer == 0 {
			p.add(file, attribute)
			return nil
		}
	}
	p.add(file, put)
	if shown.Layer > 0 || st.Nlink > 1 {
		return nil
	}
	return p.revealBelow(file, want, *got, name, st)
}

// revealBelow drops an entry when what is below is the wanted file.
func (p *repairPlan) revealBelow(file string, want int, got treestack.Dir, name string, st unix.Stat_t) error {
	below, err := findBelow(got, name)
	if err != nil || below == nil || below.Stat.Nlink > 1 {
		return err
	}
	differs, err := p.contentDiffers(want, *below, name, st)
	if err != nil || differs {
		return err
	}
	differs, err = p.attributesDiffer(want, below.Dir, name, st, below.Stat)
	if err == nil && !differs {
		p.add(file, drop)
	}
	return err
}

// linksDiffer reports whether a file is another one's second name in one tree only.
func (p *repairPlan) linksDiffer(file string, st unix.Stat_t, shown *treestack.Entry) bool {
	wantFirst, gotFirst := file, file
	if st.Nlink > 1 {
		ino := fsat.InodeOf(st)
		p.groups[ino] = append(p.groups[ino], file)
		wantFirst = firstPath(p.wantFirst, ino, file)
	}
	if shown != nil && shown.Stat.Nlink > 1 {
		gotFirst = firstPath(p.gotFirst, fsat.InodeOf(shown.Stat), file)
	}
	return wantFirst != gotFirst
}

func firstPath(all map[fsat.Inode]string, ino fsat.Inode, file string) string {
	if _, ok := all[ino]; !ok {
		all[ino] = file
	}
	return all[ino]
}

// contentDiffers reports whether two files differ in type or content.
func (p *repairPlan) contentDiffers(want int, shown treestack.Entry, name string, st unix.Stat_t) (bool, error) {
	kind := st.Mode & unix.S_IFMT
	if kind != shown.Stat.Mode&unix.S_IFMT || st.Rdev != shown.Stat.Rdev {
		return true, nil
	}
	switch kind {
	case unix.S_IFLNK:
		target, err := fsat.Readlink(want, name)
		if err != nil {
			return false, err
		}
		other, err := fsat.Readlink(shown.Dir, shown.Name)
		return target != other, err
	case unix.S_IFREG:
	default:
		return false, nil
	}
	switch {
	case st.Size != shown.Stat.Size:
		return true, nil
	case shown.Layer == 0:
		return false, nil
	case p.content == ByInode:
		return st.Ino != shown.Stat.Ino || st.Ctim != shown.Stat.Ctim, nil
	case st.Mtim != shown.Stat.Mtim:
		return true, nil
	case p.content == ByReading:
		same, err := sameContent(p.ctx, want, name, shown.Dir, shown.Name)
		return !same, err
	}
	return false, nil
}

// attributesDiffer compares owner, mode, time and extended attributes. A symlink has no mode
// of its own.
func (p *repairPlan) attributesDiffer(want, got int, name string, n, o unix.Stat_t) (bool, error) {
	if n.Uid != o.Uid || n.Gid != o.Gid || n.Mtim != o.Mtim || n.Mode != o.Mode && n.Mode&unix.S_IFMT != unix.S_IFLNK {
		return true, nil
	}
	if p.content == ByInode && n.Ino == o.Ino && n.Ctim == o.Ctim {
		return false, nil // nobody has touched it since it was cloned
	}
	names, err := ownXattrs(want, name)
	if err != nil {
		return false, err
	}
	others, err := ownXattrs(got, name)
	if err != nil {
		return false, err
	}
	if !slices.Equal(names, others) {
		return true, nil
	}
	for _, attr := range names {
		value, err := fsat.GetXattr(want, name, attr)
		if err != nil {
			return false, err
		}
		other, err := fsat.GetXattr(got, name, attr)
		if err != nil || string(value) != string(other) {
			return true, err
		}
	}
	return false, nil
}

// ownXattrs lists the attributes that are a file's own, sorted.
func ownXattrs(dir int, name string) ([]string, error) {
	names, err := fsat.ListXattr(dir, name)
	names = slices.DeleteFunc(names, func(attr string) bool { return !isOwnXattr(attr) })
	slices.Sort(names)
	return names, err
}

// isOwnXattr reports whether an attribute is neither overlayfs's nor the host's.
func isOwnXattr(attr string) bool {
	return !overlayfs.IsXattr(attr) && !strings.HasPrefix(attr, btrfsXattrs) && attr != selinuxXattr
}

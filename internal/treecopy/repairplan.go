package treecopy

import (
	"context"
	"errors"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/internal/overlayfs"
	"github.com/overlayzfs/overlayzfs/internal/treestack"
)

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
	if _, merged := got.Below(); !merged {
		if err := p.dropWhiteouts(dir, got.FD()); err != nil {
			return err
		}
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

// dropWhiteouts removes the whiteouts of a directory that merges with none below: the kernel
// would list them.
func (p *repairPlan) dropWhiteouts(dir string, upper int) error {
	entries, err := fsat.ReadDir(upper)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Type != unix.DT_CHR && e.Type != unix.DT_UNKNOWN {
			continue
		}
		st, err := fsat.Stat(upper, e.Name)
		if err != nil {
			return err
		}
		if _, planned := p.puts[dir+e.Name]; !planned && overlayfs.IsWhiteout(st.Mode, st.Rdev) {
			p.add(dir+e.Name, drop)
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

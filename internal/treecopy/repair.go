package treecopy

import (
	"context"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/internal/overlayfs"
	"github.com/overlayzfs/overlayzfs/internal/treestack"
)

// Content says how Repair finds that a file has other content than the one below.
type Content int

// The ways to compare content.
const (
	// ByInode is for a tree that the file system has cloned from the one below: each file
	// that was not touched has its inode and its time of change.
	ByInode Content = iota
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

package overlayzfs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// Usage is what a layer holds, without what is below it.
type Usage struct {
	Inodes int64
	// Allocated is what it takes of the pool: compressed, with the padding of
	// blocks. Of files that changed within the last transaction group it is not
	// known yet.
	Allocated int64
	// Apparent is the sum of its files' lengths.
	Apparent int64
}

// Usage counts a layer's files. Of a limited layer ZFS keeps count.
func (d *Driver) Usage(ctx context.Context, id string) (usage Usage, err error) {
	if err := checkID("layer", id); err != nil {
		return Usage{}, d.in("usage", id, err)
	}
	if err := d.present(); err != nil {
		return Usage{}, d.in("usage", id, err)
	}
	usage, err = d.usage(ctx, d.home.layer(id))
	return usage, d.in("usage", id, err)
}

func (d *Driver) usage(ctx context.Context, l layer) (Usage, error) {
	if err := l.require("layer"); err != nil {
		return Usage{}, err
	}
	p, err := l.place()
	if err != nil {
		return Usage{}, err
	}
	r, err := d.limits.Find(p.Key)
	if err != nil {
		return Usage{}, err
	}
	if r == nil {
		return count(ctx, l.diff())
	}
	used, err := d.limits.Usage(p)
	if err != nil {
		return Usage{}, err
	}
	return Usage{Inodes: int64(used.Inodes), Allocated: int64(used.Bytes), Apparent: int64(used.Bytes)}, nil
}

// count walks a directory that a container may be changing, and does not let it
// lead anywhere else. What vanishes meanwhile is not counted.
func count(ctx context.Context, dir string) (usage Usage, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Usage{}, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	seen := map[uint64]bool{} // files of more than one name
	err = fs.WalkDir(root.FS(), ".", func(_ string, e fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = usage.add(e, seen)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return usage, err
}

func (u *Usage) add(e fs.DirEntry, seen map[uint64]bool) error {
	fi, err := e.Info()
	if err != nil {
		return err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok || seen[st.Ino] {
		return nil
	}
	if st.Nlink > 1 && !fi.IsDir() {
		seen[st.Ino] = true
	}
	u.Inodes++
	u.Allocated += st.Blocks * 512
	if fi.Mode().IsRegular() {
		u.Apparent += st.Size
	}
	return nil
}

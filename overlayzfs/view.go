package overlayzfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/quota"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// StoreView is a store that is looked at and not opened: nothing is locked or
// changed, and whoever has it open goes on. Layers may come and go meanwhile.
type StoreView struct {
	home home
	root *os.File // keeps a dataset's mount; nil for a home that is mounted anyway
}

// OpenDatasetReadOnly looks at the store on a dataset, mounted or not.
func OpenDatasetReadOnly(dataset string) (*StoreView, error) {
	if err := answers(dataset); err != nil {
		return nil, fault.AddContext(fault.Op{Name: "view", Dataset: dataset}, err)
	}
	root, err := zfs.OpenDatasetReadOnly(dataset)
	if err != nil {
		return nil, err
	}
	v := &StoreView{home: homeOf(root), root: root}
	if err := v.check(dataset); err != nil {
		return nil, errors.Join(err, v.Close())
	}
	return v, nil
}

// OpenSnapshot looks at a store as it was in a snapshot, by its full name.
func OpenSnapshot(snap string) (*StoreView, error) {
	dataset, _, _ := strings.Cut(snap, "@")
	if err := answers(dataset); err != nil {
		return nil, fault.AddContext(fault.Op{Name: "view", Dataset: snap}, err)
	}
	root, err := zfs.OpenSnapshot(snap)
	if err != nil {
		return nil, err
	}
	v := &StoreView{home: homeOf(root), root: root}
	if err := v.check(snap); err != nil {
		return nil, errors.Join(err, v.Close())
	}
	return v, nil
}

// homeOf is the home that a file is the root of, as long as that is open.
func homeOf(root *os.File) home { return home(fmt.Sprintf("/proc/self/fd/%d", root.Fd())) }

// ViewHome looks at the store in a directory.
func ViewHome(dir string) (*StoreView, error) {
	v := &StoreView{home: home(dir)}
	return v, v.check(dir)
}

// check makes sure that there is a store that is understood.
func (v *StoreView) check(where string) error {
	if _, err := os.Lstat(v.home.path(linkDir)); errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.NotFound, "there is no store of layers on %s: Docker has never started with it", where)
	} else if err != nil {
		return err
	}
	_, err := knownFormat(v.home)
	return err
}

// Close ends the view.
func (v *StoreView) Close() error {
	if v.root == nil {
		return nil
	}
	return v.root.Close()
}

// RequireUnused makes sure that nobody has the store open now. It is fault.Busy when
// somebody has.
func (v *StoreView) RequireUnused() error {
	lock, err := claim(v.home)
	if err != nil {
		return err
	}
	return lock.Close()
}

// Door is whose layers these are; empty for a graphdriver's.
func (v *StoreView) Door() (string, error) {
	raw, err := os.ReadFile(v.home.own(doorName))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(raw), err
}

// CountRemoving is how many layers wait for the deletion of their files.
func (v *StoreView) CountRemoving() (int, error) {
	names, err := readNames(v.home.own(trashName))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	return len(names), err
}

// State is how far a layer is; see the package comment.
type State string

// The states of layers that exist.
const (
	Building State = "building"
	Mutable  State = "mutable"
	Ready    State = "ready"
)

// LayerInfo is what is seen of a layer.
type LayerInfo struct {
	ID     string
	Key    string // its short name
	Parent string // the layer directly below; empty for a base layer
	Depth  int    // how many are below
	// Lowers are all that are below, nearest first, as far as they are known.
	Lowers []string
	State  State
	Limit  *quota.Record // nil without one
	// Damaged is why the rest is not known.
	Damaged error
}

// Layers returns all layers that exist, in no order.
func (v *StoreView) Layers() ([]LayerInfo, error) {
	names, err := readNames(string(v.home))
	if err != nil {
		return nil, err
	}
	shorts, err := v.shorts()
	if err != nil {
		return nil, err
	}
	var all []LayerInfo
	for _, name := range names {
		if checkID("layer", name) != nil {
			continue
		}
		seen, err := v.look(name, shorts)
		if exists, existErr := v.home.layer(name).exists(); existErr != nil {
			return nil, existErr
		} else if !exists {
			continue // removed meanwhile
		}
		seen.Damaged = err
		all = append(all, seen)
	}
	return all, nil
}

// shorts leads from short names to layers.
func (v *StoreView) shorts() (map[string]string, error) {
	names, err := readNames(v.home.path(linkDir))
	if err != nil {
		return nil, err
	}
	shorts := make(map[string]string, len(names))
	for _, name := range names {
		target, err := os.Readlink(v.home.path(linkDir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if id, ok := linked(target); ok {
			shorts[name] = id
		}
	}
	return shorts, nil
}

func (v *StoreView) look(id string, shorts map[string]string) (seen LayerInfo, err error) {
	l := v.home.layer(id)
	seen = LayerInfo{ID: id, State: v.state(id)}
	if seen.Key, err = readShort(l.dir()); err != nil {
		return seen, err
	}
	if seen.Limit, err = quota.ReadRecord(v.home.own(limitsName), seen.Key); err != nil {
		return seen, err
	}
	lowers, err := l.lowers()
	if err != nil || len(lowers) == 0 {
		return seen, err
	}
	seen.Depth = len(lowers)
	for i, lower := range lowers {
		below, ok := shorts[strings.TrimPrefix(lower, linkDir+"/")]
		if !ok {
			err = fault.New(fault.NotFound, "layer %s stands on %s, which leads to no layer", id, lower)
			continue
		}
		if i == 0 {
			seen.Parent = below
		}
		seen.Lowers = append(seen.Lowers, below)
	}
	return seen, err
}

func (v *StoreView) state(id string) State {
	for path, state := range map[string]State{v.home.building(id): Building, v.home.mutable(id): Mutable} {
		if _, err := os.Lstat(path); err == nil {
			return state
		}
	}
	return Ready
}

// Usage counts the files of a layer that has no limit; of a limited one the
// dataset or project keeps count.
func (v *StoreView) Usage(ctx context.Context, id string) (Usage, error) {
	if err := checkID("layer", id); err != nil {
		return Usage{}, err
	}
	return count(ctx, v.home.layer(id).diff())
}

// OpenContent opens the directory with a layer's own content. That of a layer with a
// dataset of its own is not reached by a view.
func (v *StoreView) OpenContent(id string) (*os.File, error) {
	if err := checkID("layer", id); err != nil {
		return nil, err
	}
	return os.Open(v.home.layer(id).diff())
}

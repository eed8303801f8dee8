package overlayzfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
	"github.com/overlayzfs/overlayzfs/quota"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// StoreView is a store that is read without being opened. It takes no lock and changes
// nothing, so another process may have the store open. Layers may come and go meanwhile.
type StoreView struct {
	home home
	root *os.File // holds the dataset's mount; nil for a home that is mounted anyway
}

// OpenDatasetReadOnly opens a view of the store on a dataset, mounted or not.
func OpenDatasetReadOnly(dataset string) (*StoreView, error) {
	if err := checkPool(dataset); err != nil {
		return nil, fault.AddContext(fault.Op{Name: "view", Dataset: dataset}, err)
	}
	root, err := zfs.OpenDatasetReadOnly(dataset)
	if err != nil {
		return nil, err
	}
	v := &StoreView{home: homeOfFile(root), root: root}
	if err := v.requireStore(dataset); err != nil {
		return nil, errors.Join(err, v.Close())
	}
	return v, nil
}

// OpenSnapshot opens a view of the store in a snapshot, by its full name.
func OpenSnapshot(snap string) (*StoreView, error) {
	dataset, _, _ := strings.Cut(snap, "@")
	if err := checkPool(dataset); err != nil {
		return nil, fault.AddContext(fault.Op{Name: "view", Dataset: snap}, err)
	}
	root, err := zfs.OpenSnapshot(snap)
	if err != nil {
		return nil, err
	}
	v := &StoreView{home: homeOfFile(root), root: root}
	if err := v.requireStore(snap); err != nil {
		return nil, errors.Join(err, v.Close())
	}
	return v, nil
}

// homeOfFile returns the home whose root directory is open as root. It is valid while the
// file is open.
func homeOfFile(root *os.File) home { return home(fmt.Sprintf("/proc/self/fd/%d", root.Fd())) }

// OpenHomeReadOnly opens a view of the store in a directory.
func OpenHomeReadOnly(dir string) (*StoreView, error) {
	v := &StoreView{home: home(dir)}
	return v, v.requireStore(dir)
}

// requireStore makes sure that there is a store of a known format.
func (v *StoreView) requireStore(where string) error {
	if _, err := os.Lstat(v.home.path(linkDir)); errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.NotFound, "%s has no store of layers: Docker has never started with it", where)
	} else if err != nil {
		return err
	}
	_, err := hasKnownFormat(v.home)
	return err
}

// Close ends the view.
func (v *StoreView) Close() error {
	if v.root == nil {
		return nil
	}
	return v.root.Close()
}

// RequireUnused returns fault.Busy when a process has the store open.
func (v *StoreView) RequireUnused() error {
	root, err := os.Open(string(v.home))
	if err != nil {
		return err
	}
	// The lock is shared, so that two that ask do not take each other for a user.
	return errors.Join(lockFile(root, fsat.TryLockShared), root.Close())
}

// Door returns the door that the store belongs to. It is empty for a graphdriver.
func (v *StoreView) Door() (string, error) {
	raw, err := os.ReadFile(v.home.privatePath(doorFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(raw), err
}

// OpenRecords opens a file of a door's own records for reading. The door may be writing it.
func (v *StoreView) OpenRecords(door, name string) (*os.File, error) {
	if err := errors.Join(checkID("door", door), checkID("file", name)); err != nil {
		return nil, err
	}
	return os.Open(v.home.privatePath(recordsDir, door, name))
}

// CountRemoving returns how many layers wait for the deletion of their files.
func (v *StoreView) CountRemoving() (int, error) {
	names, err := readNames(v.home.privatePath(trashDir))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	return len(names), err
}

// State is the state of a layer. The package comment describes the states.
type State string

// The states of layers that exist.
const (
	Building State = "building"
	Mutable  State = "mutable"
	Ready    State = "ready"
)

// LayerInfo describes a layer.
type LayerInfo struct {
	ID     string
	Key    string // the name of its short link
	Parent string // the layer directly below; empty for a base layer
	Depth  int    // the number of layers below
	// Lowers are the layers below, nearest first, as far as they are known.
	Lowers []string
	State  State
	Limit  *quota.Record // nil without a limit
	// Damaged is the reason why the other fields are incomplete, or nil.
	Damaged error
}

// Layers returns all layers that exist, in no order.
func (v *StoreView) Layers() ([]LayerInfo, error) {
	names, err := v.home.readLayerNames()
	if err != nil {
		return nil, err
	}
	links, err := v.home.readShortLinks()
	if err != nil {
		return nil, err
	}
	keys := links.byLayer()
	for _, name := range names {
		v.addLostLink(name, links, keys)
	}
	var all []LayerInfo
	for _, name := range names {
		if keys[name] == "" {
			if foreign, err := v.home.layer(name).isForeign(); err != nil || foreign {
				continue // removed meanwhile, or no layer
			}
		}
		seen, err := v.readLayer(name, keys[name], links)
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

// addLostLink adds the link that a layer names and l/ lacks. The driver makes it again.
func (v *StoreView) addLostLink(id string, links shortLinks, keys map[string]string) {
	if keys[id] != "" {
		return
	}
	if short, err := readShortName(v.home.layer(id).dir()); err == nil && links[short] == "" {
		links[short], keys[id] = id, short
	}
}

// readLayer describes a layer. key is the name of its short link.
func (v *StoreView) readLayer(id, key string, shorts shortLinks) (seen LayerInfo, err error) {
	l := v.home.layer(id)
	seen = LayerInfo{ID: id, State: v.readState(id), Key: key}
	own, err := readShortName(l.dir())
	if err != nil {
		return seen, err
	}
	if shorts[own] == id { // while the layer is carried, it has a second link
		seen.Key = own
	}
	if seen.Limit, err = quota.ReadRecord(v.home.privatePath(limitsDir), seen.Key); err != nil {
		return seen, err
	}
	lowers, err := l.readLowers()
	if err != nil || len(lowers) == 0 {
		return seen, err
	}
	seen.Depth = len(lowers)
	for i, lower := range lowers {
		below, ok := shorts[strings.TrimPrefix(lower, linkDir+"/")]
		if !ok {
			err = fault.New(fault.NotFound, "the layer below %s is missing: %s leads to no layer", id, lower)
			continue
		}
		if i == 0 {
			seen.Parent = below
		}
		seen.Lowers = append(seen.Lowers, below)
	}
	return seen, err
}

func (v *StoreView) readState(id string) State {
	for path, state := range map[string]State{v.home.buildingMark(id): Building, v.home.mutableMark(id): Mutable} {
		if _, err := os.Lstat(path); err == nil {
			return state
		}
	}
	return Ready
}

// Usage counts the files of a layer without a limit. ZFS counts those of a limited layer.
func (v *StoreView) Usage(ctx context.Context, id string) (Usage, error) {
	if err := checkID("layer", id); err != nil {
		return Usage{}, err
	}
	return countFiles(ctx, v.home.layer(id).diff())
}

// OpenContent opens the directory with a layer's own content. A view does not reach the
// content of a layer on a dataset of its own.
func (v *StoreView) OpenContent(id string) (*os.File, error) {
	if err := checkID("layer", id); err != nil {
		return nil, err
	}
	return os.Open(v.home.layer(id).diff())
}

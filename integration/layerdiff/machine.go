package layerdiff

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/overlayzfs/overlayzfs/integration/treecmp"
)

// Machine has a stack unpacked by all drivers. Every field has to be set.
type Machine struct {
	Plugin      Graph  // ours, the one that is judged
	Snapshotter Driver // ours, in which containerd's code unpacks
	Containerd  Driver // containerd's overlayfs
	Overlay2    Driver
	VFS         Driver

	count int // of stacks, for IDs
}

// result is what a driver makes of a stack: a tree, or the error of a layer.
type result struct {
	tree *treecmp.Tree
	err  error
}

// Check returns the differences of a stack, or nothing. The error is the machine's own.
func (m *Machine) Check(ctx context.Context, s Stack) (found []string, err error) {
	m.count++
	tars := make([][]byte, len(s))
	for i, l := range s {
		if tars[i], err = l.Tar(); err != nil {
			return nil, err
		}
	}
	ours, differs, err := m.checkPlugin(ctx, tars)
	if err != nil {
		return nil, err
	}
	var results [4]result
	for i, d := range []Driver{m.Snapshotter, m.Containerd, m.Overlay2, m.VFS} {
		if results[i], err = m.unpack(ctx, d, tars); err != nil {
			return nil, err
		}
	}
	return append(differs, judge(findTraits(s), ours, results[0], results[1], results[2], results[3])...), nil
}

// judge compares what the drivers made of a stack, by the rules of decision 9.
func judge(t traits, plugin, snapshotter, containerd, overlay2, vfs result) (found []string) {
	found = append(found, compare("snapshotter | containerd's overlayfs", snapshotter, containerd, treecmp.Options{MTimes: true, LooseDirTimes: true})...)
	comparable := comparable
	comparable.MTimes = !t.replacedDir
	others := []result{containerd, overlay2}
	for i, other := range others {
		if other.err != nil {
			continue // the next one's counts
		}
		if plugin.err != nil {
			return append(found, fmt.Sprintf("the plugin refuses what others take: %v", plugin.err))
		}
		if !t.remadeDir && !t.opaqueBase && !t.opaqueBelow {
			name := []string{"plugin | containerd's overlayfs", "plugin | overlay2"}[i]
			found = append(found, compare(name, plugin, other, comparable)...)
		}
		break
	}
	if plugin.err == nil && vfs.err == nil && !t.symlinks && !t.links && !t.lateMark && !t.opaqueBase {
		o := comparable
		o.Xattrs = func(string) bool { return false } // vfs does not copy them from layer to layer
		found = append(found, compare("plugin | vfs", plugin, vfs, o)...)
	}
	return found
}

// comparable leaves out the times of directories, which implied ones get from the clock.
var comparable = treecmp.Options{MTimes: true, LooseDirTimes: true, Ignore: []string{"."}}

func compare(what string, a, b result, o treecmp.Options) []string {
	if (a.err == nil) != (b.err == nil) {
		return []string{fmt.Sprintf("%s: %v | %v", what, a.err, b.err)}
	}
	if a.err != nil {
		return nil
	}
	found := treecmp.Compare(a.tree, b.tree, o)
	for i := range found {
		found[i] = what + ": " + found[i]
	}
	return found
}

func (m *Machine) id(layer int) string { return fmt.Sprintf("s%dl%d", m.count, layer) }

// parent returns the ID of the layer below.
func (m *Machine) parent(layer int) string {
	if layer == 0 {
		return ""
	}
	return m.id(layer - 1)
}

// unpack unpacks a stack and describes the tree. It leaves nothing.
func (m *Machine) unpack(ctx context.Context, d Driver, tars [][]byte) (r result, err error) {
	made := 0
	defer func() {
		for made--; made >= 0; made-- {
			err = errors.Join(err, d.Remove(ctx, m.id(made)))
		}
	}()
	for i, raw := range tars {
		if r.err = d.Apply(ctx, m.id(i), m.parent(i), raw); r.err != nil {
			return r, nil
		}
		made++
	}
	r.tree, err = describe(ctx, d, m.id(len(tars)-1))
	return r, err
}

func describe(ctx context.Context, d Driver, id string) (tree *treecmp.Tree, err error) {
	err = d.Show(ctx, id, func(dir string) error {
		ghosts, err := findGhosts(dir)
		if err == nil {
			tree, err = treecmp.FromDir(dir, ghosts...)
		}
		return err
	})
	return tree, err
}

// findGhosts lists the names that a directory shows and that nothing has: overlayfs does not
// hide a whiteout's name in a directory that no layer below has.
func findGhosts(dir string) (ghosts []string, err error) {
	err = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if _, err = os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			rel, err := filepath.Rel(dir, path)
			ghosts = append(ghosts, rel)
			return err
		}
		return err
	})
	return ghosts, err
}

// checkPlugin unpacks a stack with the plugin. It also applies what the plugin says of the
// uppermost layer over each layer below, which has to give the same tree.
func (m *Machine) checkPlugin(ctx context.Context, tars [][]byte) (r result, found []string, err error) {
	made := 0
	defer func() {
		for made--; made >= 0; made-- {
			err = errors.Join(err, m.Plugin.Remove(ctx, m.id(made)))
		}
	}()
	for i, raw := range tars {
		if r.err = m.Plugin.Apply(ctx, m.id(i), m.parent(i), raw); r.err != nil {
			if !strings.Contains(r.err.Error(), m.id(i)) {
				found = append(found, fmt.Sprintf("the error does not name the layer: %v", r.err))
			}
			return r, found, nil
		}
		made++
	}
	top := m.id(len(tars) - 1)
	if r.tree, err = describe(ctx, m.Plugin, top); err != nil {
		return r, found, err
	}
	for below := range len(tars) {
		differs, err := m.checkDiff(ctx, top, m.parent(below), r)
		if err != nil {
			return r, found, err
		}
		found = append(found, differs...)
	}
	return r, found, nil
}

// checkDiff applies the difference of two layers to the lower one.
func (m *Machine) checkDiff(ctx context.Context, top, below string, want result) (found []string, err error) {
	what := fmt.Sprintf("the layer | its difference to %q, applied", below)
	raw, err := m.Plugin.Diff(top, below)
	if err != nil {
		return nil, err
	}
	again := top + "again"
	if err := m.Plugin.Apply(ctx, again, below, raw); err != nil {
		return []string{fmt.Sprintf("%s: %v", what, err)}, nil
	}
	defer func() { err = errors.Join(err, m.Plugin.Remove(ctx, again)) }()
	tree, err := describe(ctx, m.Plugin, again)
	if err != nil {
		return nil, err
	}
	o := treecmp.Options{MTimes: true, Ignore: []string{"."}}
	o.LooseDirTimes = true // a directory whose entries changed is only marked
	return compare(what, want, result{tree: tree}, o), nil
}

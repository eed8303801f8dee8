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

// Machine has a stack unpacked by all drivers. Every field but Snapshotter has to be set.
type Machine struct {
	Plugin      Differ // ours, the one that is judged: the plugin, or a Reader
	Snapshotter Driver // ours, in which containerd's code unpacks; nil with a Reader
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
	t := findTraits(s)
	var others [3]result
	for i, d := range []Driver{m.Containerd, m.Overlay2, m.VFS} {
		if t.mobyHangs && d != m.Containerd {
			others[i].err = errHangs
		} else if others[i], err = m.unpack(ctx, d, tars); err != nil {
			return nil, err
		}
	}
	if m.Snapshotter != nil {
		r, err := m.unpack(ctx, m.Snapshotter, tars)
		if err != nil {
			return nil, err
		}
		differs = append(differs, compare("snapshotter | containerd's overlayfs", r, others[0], treecmp.Options{MTimes: true, LooseDirTimes: true})...)
	}
	return append(differs, judge(t, ours, others[0], others[1], others[2])...), nil
}

// errHangs stands for a call that never returns.
var errHangs = errors.New("moby opens a FIFO and waits for its writer")

// judge compares what the drivers made of a stack, by the rules of decision 9.
func judge(t traits, ours, containerd, overlay2, vfs result) (found []string) {
	name, other := "plugin | containerd's overlayfs", containerd
	if containerd.err != nil {
		name, other = "plugin | overlay2", overlay2
	}
	switch {
	case other.err != nil: // both refuse
	case ours.err != nil:
		if !t.mayRefuse(ours.err) {
			found = append(found, fmt.Sprintf("the plugin refuses what others take: %v", ours.err))
		}
	default:
		found = append(found, compareAllowing(name, ours, other, t.allowAgainst(containerd.err != nil))...)
	}
	if ours.err == nil && vfs.err == nil && !t.followed {
		found = append(found, compareAllowing("plugin | vfs", ours, vfs, t.allowAgainstVFS())...)
	}
	return found
}

// compareAllowing compares a tree with ours but for what the table allows.
func compareAllowing(name string, ours, other result, a allowance) []string {
	other.tree = a.apply(ours.tree, other.tree)
	return compare(name, ours, other, treecmp.Options{MTimes: true, Ignore: []string{"."}})
}

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
		var err error
		if tree, err = treecmp.FromDir(dir); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
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
	raw, err := m.Plugin.Diff(ctx, top, below)
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
	o.LooseDirTimes = true                                                           // a directory whose entries changed is only marked
	o.Xattrs = func(name string) bool { return !strings.HasPrefix(name, "system.") } // lists of access do not travel
	return compare(what, want, result{tree: tree}, o), nil
}

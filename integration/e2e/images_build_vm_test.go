//go:build vm

package e2e

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/treecmp"
)

// acrossLayers are the hard links that a step makes to a file of an earlier
// one. overlayfs copies that file up with the new link and leaves its other
// names behind; vfs keeps the names together on disk, and loses the new link
// when it makes a layer. What ours must be is in inChanges.
var acrossLayers = []string{
	"lower/hard-a", "lower/hard-b", "links/across", "links/a", "links/c", "links/later", "caps/linked", "caps/other-name",
}

// mountedOver are the directories in which the engine makes mount points: it
// gives them new times.
var mountedOver = []string{".", "etc", "dev", "proc", "sys"}

// likeVfs is how our trees compare with those of vfs, which copies no extended
// attributes but capabilities, and takes a directory of which only the time is
// new, because a file in it came and went, for unchanged.
func (l *imageLab) likeVfs() treecmp.Options {
	return treecmp.Options{
		MTimesBefore:  l.start,
		LooseLinks:    acrossLayers,
		LooseDirTimes: true,
		Xattrs:        func(name string) bool { return name == capability },
	}
}

// mountedOptions are for trees seen in a container.
func mountedOptions(o treecmp.Options) treecmp.Options {
	o.Ignore, o.LooseTimes = engineOwn, mountedOver
	return o
}

// ownLayers is how our mounted trees compare with the layers that come out:
// nothing differs but the times of the directories the engine writes to.
var ownLayers = mountedOptions(treecmp.Options{MTimes: true})

// stage builds a stage of the Dockerfile on both engines, once, and returns
// the image's name.
func (l *imageLab) stage(t testing.TB, b builder, stage string) string {
	t.Helper()
	image := stage + ":" + b.name
	if l.built[image] {
		return image
	}
	if stage != "changes" && !l.built["debian"] {
		must(t, l.each(func(e *engine.Engine) error { return importFrom(e, "debian", writeDebian) }))
		l.built["debian"] = true
	}
	dir := everythingContext(t)
	must(t, l.each(func(e *engine.Engine) error {
		began := time.Now()
		err := b.build(e, image, dir, "--target", stage)
		t.Logf("%s on %s: built in %v", image, e.Driver, time.Since(began).Round(time.Second))
		return err
	}))
	l.built[image] = true
	return image
}

// builds checks what a builder makes on our driver against vfs: every layer's
// digest, the tree after every layer, and the trees that containers see.
func (l *imageLab) builds(t *testing.T, b builder) {
	for _, stage := range []string{"changes", "packages", "everything"} {
		t.Run(stage, func(t *testing.T) { l.sameLayers(t, b, stage) })
	}
}

func (l *imageLab) sameLayers(t *testing.T, b builder, stage string) {
	image := l.stage(t, b, stage)
	var ours, vfs []*treecmp.Tree
	states := func(e *engine.Engine, into *[]*treecmp.Tree) func() error {
		return func() error {
			saved, _, err := l.archive(e, image)
			if err != nil {
				return err
			}
			defer saved.Close()
			return treecmp.Stack(saved.Layers(), func(_ int, tree *treecmp.Tree) error {
				*into = append(*into, tree)
				return nil
			})
		}
	}
	var mounted *treecmp.Tree
	must(t, atOnce(states(l.ours, &ours), states(l.vfs, &vfs), func() (err error) {
		mounted, err = mountedTree(l.ours, image)
		return err
	}))
	if len(ours) != len(vfs) {
		t.Fatalf("%d layers, and %d on vfs", len(ours), len(vfs))
	}
	for n := range ours {
		same(t, fmt.Sprintf("%s after layer %d, ours and on vfs", image, n), ours[n], vfs[n], l.likeVfs())
		if t.Failed() {
			break // the next layers differ for the same reason
		}
	}
	top := ours[len(ours)-1]
	same(t, image+" in a container and its layers", mounted, top, ownLayers)
	same(t, image+" in a container and the layers of vfs", mounted, vfs[len(vfs)-1], mountedOptions(l.likeVfs()))
	switch stage {
	case "changes":
		hold(t, mounted, inChanges)
		hidden(t, mounted)
	case "everything":
		hold(t, mounted, inChanges)
		hold(t, mounted, map[string]func(*treecmp.Entry) error{"big": sized(200 << 20), "sparse": sized(50 << 20)})
	}
}

// hidden checks that the stage changes holds nothing of what its steps removed.
func hidden(t testing.TB, tree *treecmp.Tree) {
	t.Helper()
	for dir, want := range map[string]string{
		"lower/opaque-dir":     "newer",
		"lower/delete-dir":     "back",
		"lower/dir-to-file":    "again",
		"lower/dir-to-symlink": "",
		"lower/symlink-to-dir": "in",
		"lower/deep/er":        "est est/new",
		"lower/keep-dir":       "old sub sub/old",
		"links":                "a across c later",
	} {
		var below []string
		for _, path := range tree.Below(dir) {
			below = append(below, strings.TrimPrefix(path, dir+"/"))
		}
		if got := strings.Join(below, " "); got != want {
			t.Errorf("%s holds %q, want %q", dir, got, want)
		}
	}
	for _, path := range []string{"lower/delete-file", "short-lived", "short-dir", "unpacked/plain", "lower/unpacked-dir", "links/b"} {
		if _, found := tree.Find(path); found {
			t.Errorf("%s was deleted and is there", path)
		}
	}
}

// hold checks entries against what is written here: vfs and we could be wrong
// in the same way.
func hold(t testing.TB, tree *treecmp.Tree, checks map[string]func(*treecmp.Entry) error) {
	t.Helper()
	for path, check := range checks {
		e, found := tree.Find(path)
		if !found {
			t.Errorf("%s is missing", path)
		} else if err := check(e); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

var inChanges = map[string]func(*treecmp.Entry) error{
	"lower/file-to-dir":     is(treecmp.File, 0o644, 0, 0),
	"lower/file-to-symlink": leadsTo("replace-file"),
	"lower/link":            leadsTo("/lower/replace-file"),
	"lower/dirlink":         leadsTo("nowhere"),
	"lower/suid":            is(treecmp.File, 0o4755, 0, 0),
	"lower/sgid-dir":        is(treecmp.Dir, 0o2775, 0, 0),
	"lower/sticky-dir":      is(treecmp.Dir, 0o1777, 0, 0),
	"lower/mode-none":       is(treecmp.File, 0, 0, 0),
	"lower/chown-dir/sub":   is(treecmp.Dir, 0o755, 1234, 4321),
	"lower/chown-link":      is(treecmp.Symlink, 0o777, 1234, 4321),
	"lower/char":            device(treecmp.Char, 0o640, 1, 7),
	"lower/fifo":            is(treecmp.Fifo, 0o600, 0, 0),
	"lower/attributed":      attribute("user.note", "a\x00b"),
	"nodes/char":            device(treecmp.Char, 0o644, 1, 3),
	"nodes/block":           device(treecmp.Block, 0o644, 7, 200),
	"nodes/zero":            device(treecmp.Char, 0o644, 0, 1),
	"nodes/fifo":            is(treecmp.Fifo, 0o644, 0, 0),
	"links/later":           linked("links/a", "links/later"),
	"links/across":          linked("links/across", "lower/hard-a"),
	"links/c":               linked(),
	"lower/hard-b":          linked(),
	"lower/hard-c":          linked(),
	"caps/tool":             attribute(capability, netRaw),
	"caps/touched":          attribute(capability, netRaw),
	"caps/chmodded":         attribute(capability, netRaw),
	"caps/renamed":          attribute(capability, netRaw),
	"caps/other-name":       attribute(capability, netRaw),
	"caps/written":          attribute(capability, ""),
	"unpacked/capable":      attribute(capability, netRaw),
	"unpacked/owned":        is(treecmp.File, 0o4711, 77, 78),
	"copied/megabyte":       is(treecmp.File, 0o644, 7, 8),
	"tmp/mine":              is(treecmp.File, 0o644, 1234, 4321),
	"tmp/dir":               is(treecmp.Dir, 0o700, 1234, 4321),

	`names with spaces/\xff\xfe\x80`:                      sized(6),
	`names with spaces/new\x0aline\x5cback"quote`:         sized(8),
	`names with spaces/ lead and trail `:                  sized(7),
	"names with spaces/" + strings.Repeat("0", 254) + "7": sized(5),
	deepPath(40) + "/bottom":                              sized(7),
}

func deepPath(n int) string {
	var dirs []string
	for i := range n {
		dirs = append(dirs, fmt.Sprintf("deep-%040d", i+1))
	}
	return strings.Join(dirs, "/")
}

func is(kind string, mode uint32, uid, gid int) func(*treecmp.Entry) error {
	return func(e *treecmp.Entry) error {
		if e.Type != kind || e.Mode != mode || e.UID != uid || e.GID != gid {
			return fmt.Errorf("%s %04o %d:%d, want %s %04o %d:%d", e.Type, e.Mode, e.UID, e.GID, kind, mode, uid, gid)
		}
		return nil
	}
}

func device(kind string, mode, major, minor uint32) func(*treecmp.Entry) error {
	return func(e *treecmp.Entry) error {
		err := is(kind, mode, 0, 0)(e)
		if e.Major != major || e.Minor != minor {
			err = errors.Join(err, fmt.Errorf("device %d:%d, want %d:%d", e.Major, e.Minor, major, minor))
		}
		return err
	}
}

func leadsTo(target string) func(*treecmp.Entry) error {
	return func(e *treecmp.Entry) error {
		if e.Type != treecmp.Symlink || e.Target != target {
			return fmt.Errorf("%s to %q, want a symlink to %q", e.Type, e.Target, target)
		}
		return nil
	}
}

func sized(size int64) func(*treecmp.Entry) error {
	return func(e *treecmp.Entry) error {
		if e.Type != treecmp.File || e.Size != size {
			return fmt.Errorf("%s of %d bytes, want a file of %d", e.Type, e.Size, size)
		}
		return nil
	}
}

func linked(names ...string) func(*treecmp.Entry) error {
	return func(e *treecmp.Entry) error {
		if !slices.Equal(e.Names, names) {
			return fmt.Errorf("its hard links are %q, want %q", e.Names, names)
		}
		return nil
	}
}

func attribute(name, value string) func(*treecmp.Entry) error {
	return func(e *treecmp.Entry) error {
		if got := e.Xattrs[name]; got != hex.EncodeToString([]byte(value)) {
			return fmt.Errorf("%s is 0x%s, want %x", name, got, value)
		}
		return nil
	}
}

// sameSteps runs some of the images that the classic builder leaves after each
// step, on both engines.
func (l *imageLab) sameSteps(t *testing.T) {
	image := l.stage(t, classic, "everything")
	var ours, vfs []string
	must(t, atOnce(
		func() (err error) { ours, err = steps(l.ours, image); return err },
		func() (err error) { vfs, err = steps(l.vfs, image); return err },
	))
	if len(ours) != len(vfs) || len(ours) < 15 {
		t.Fatalf("%d steps, and %d on vfs", len(ours), len(vfs))
	}
	for _, n := range []int{3, len(ours) / 2, len(ours) - 1} {
		var a, b *treecmp.Tree
		must(t, atOnce(
			func() (err error) { a, err = mountedTree(l.ours, ours[n]); return err },
			func() (err error) { b, err = mountedTree(l.vfs, vfs[n]); return err },
		))
		same(t, fmt.Sprintf("step %d in a container, ours and on vfs", n), a, b, mountedOptions(l.likeVfs()))
	}
}

// steps lists the images that led to one, the base first.
func steps(e *engine.Engine, image string) ([]string, error) {
	out, err := e.Try("history", "-q", "--no-trunc", image)
	if err != nil {
		return nil, err
	}
	ids := slices.DeleteFunc(strings.Fields(out), func(id string) bool { return id == "<missing>" })
	slices.Reverse(ids)
	return ids, nil
}

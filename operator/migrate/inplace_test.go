package migrate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// target is where the plugin's store is to be.
const target = "plugins/0123/propagated-mount/overlayzfs"

func shortOf(id string) string { return strings.ToUpper(hexID(id))[:26] }

// stacked makes a layer in overlay2's layout.
func (h host) stacked(id string, below []string, files ...file) {
	h.Helper()
	dir := "overlay2/" + id + "/"
	for _, f := range files {
		h.write(dir+"diff/"+f.name, f.content)
		h.no(os.Chmod(h.path(dir+"diff/"+f.name), 0o644))
	}
	h.no(os.MkdirAll(h.path(dir+"diff"), 0o755))
	h.write(dir+"link", shortOf(id))
	h.no(os.MkdirAll(h.path("overlay2/l"), 0o700))
	h.no(os.Symlink("../"+id+"/diff", h.path("overlay2/l/"+shortOf(id))))
	if len(below) == 0 {
		return
	}
	var lower []string
	for _, b := range below {
		lower = append(lower, "l/"+shortOf(b))
	}
	h.write(dir+"lower", strings.Join(lower, ":"))
	h.no(os.MkdirAll(h.path(dir+"work/work"), 0o700))
}

// newOverlay2Host returns a data-root of overlay2: two layers, an image, two containers.
func newOverlay2Host(t *testing.T) host {
	h := newHost(t, "overlay2")
	base := h.layer("", hexID("base"), file{"etc/motd", "hello"})
	top := h.layer(base, hexID("top"), file{"etc/motd", "changed"})
	h.image("x:latest", base, top)
	h.stacked(hexID("base"), nil, file{"etc/motd", "hello"})
	h.stacked(hexID("top"), []string{hexID("base")}, file{"etc/motd", "changed"})
	for _, name := range []string{"web", "db"} {
		_, mount := h.container(name, top)
		h.stacked(mount+"-init", []string{hexID("top"), hexID("base")}, file{"etc/hosts", ""})
		h.stacked(mount, []string{mount + "-init", hexID("top"), hexID("base")}, file{"data", name})
	}
	h.write("buildkit/metadata.db", "of the cache")
	h.no(os.MkdirAll(h.path(filepath.Dir(target)), 0o700))
	return h
}

func (h host) moveJob() *Job {
	h.Helper()
	return &Job{Method: Move, From: "overlay2", To: "overlayzfs", Layers: "overlay2", Target: target, Config: h.config, ConfigWas: h.configWas()}
}

// moved checks that everything is the plugin's.
func (h host) moved() {
	h.Helper()
	records := h.records("overlayzfs")
	if len(records.Images) != 1 || len(records.Layers) != 2 || len(records.Containers) != 2 || len(records.Damaged)+len(records.Gaps()) > 0 {
		h.Errorf("records: %+v", records)
	}
	view, err := overlayzfs.OpenHomeReadOnly(h.path(target))
	h.no(err)
	layers, err := view.Layers()
	if err != nil || len(layers) != 6 {
		h.Errorf("layers: %v, %v", layers, err)
	}
	for _, old := range []string{"overlay2", "image/overlay2"} {
		if _, err := os.Stat(h.path(old)); err == nil {
			h.Errorf("%s is left", old)
		}
	}
	if _, err := os.Stat(h.path("buildkit/metadata.db")); err != nil {
		h.Errorf("BuildKit's cache, whose layers came along: %v", err)
	}
}

func TestMove(t *testing.T) {
	h := newOverlay2Host(t)
	before := h.everything()
	h.no(h.run(h.moveJob(), &fakeStore{}))
	h.moved()
	h.no(Undo(t.Context(), h.dir, (&fakeStore{}).tools()))
	if diff := cmp.Diff(before, h.everything()); diff != "" {
		t.Errorf("after an undo, - before, + now:\n%s", diff)
	}
	h.no(h.run(h.moveJob(), &fakeStore{}))
	h.moved()
	h.no(Finish(t.Context(), h.dir, (&fakeStore{}).tools()))
	h.moved()
}

// TestAnUndoTakesWhatTheOldDriverKnows: what was made since comes along, so it has to
// be what the way back takes.
func TestAnUndoTakesWhatTheOldDriverKnows(t *testing.T) {
	mount := hexID("mount of web")
	for name, tt := range map[string]struct {
		spoil func(h host)
		says  string
	}{
		"Nothing":  {func(host) {}, ""},
		"Limit":    {func(h host) { h.write("containers/"+hexID("web")+"/hostconfig.json", `{"StorageOpt":{"size":"1G"}}`) }, "has a limit"},
		"Removing": {func(h host) { h.no(os.MkdirAll(h.path(target+"/.overlayzfs/trash/x"), 0o700)) }, "overlayzfs gc"},
		"Missing":  {func(h host) { h.no(os.RemoveAll(h.path(target + "/" + mount))) }, "is missing in"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newOverlay2Host(t)
			h.no(h.run(h.moveJob(), &fakeStore{}))
			tt.spoil(h)
			plan, err := MakePlan(Request{Root: h.dir, Driver: "overlayzfs", Config: h.config, Action: ActionUndo})
			h.no(err)
			if err := plan.CheckObstacles(); (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v, want %q", err, tt.says)
			}
		})
	}
}

// TestAMoveCutShortAnywhere stops after each step, and in the middle of the one
// that has several parts, and then goes on or goes back. What dockerd makes at a
// start in between does not keep it.
func TestAMoveCutShortAnywhere(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		for n := range 5 {
			t.Run(fmt.Sprint(n, restarted), func(t *testing.T) {
				h := newOverlay2Host(t)
				before := h.everything()
				h.cutShort(n, restarted)
				h.no(Undo(t.Context(), h.dir, (&fakeStore{}).tools()))
				if diff := cmp.Diff(before, h.everything()); diff != "" {
					t.Errorf("gone back, - before, + now:\n%s", diff)
				}
				h.cutShort(n, restarted)
				h.no(h.run(nil, &fakeStore{}))
				h.moved()
			})
		}
	}
}

// cutShort does the first n steps of a move; of the fifth a part.
func (h host) cutShort(n int, restarted bool) {
	h.Helper()
	h.no(h.within(func(r *dataRoot) error {
		j := h.moveJob()
		err := j.startJob(r, Tools{})
		for _, s := range j.recordSteps(context.Background(), r)[:min(n, 2)] {
			err = errors.Join(err, s.do())
		}
		if n == 3 {
			err = errors.Join(err, r.setDrivers(j.From, j.To, func(id string) (bool, error) { return id == hexID("db"), nil }, nil))
		}
		if n == 4 {
			err = errors.Join(err, j.nameDriver(r).do(), j.enterPhase(r, Configuring), j.switchConfig())
		}
		return err
	}))
	if n == 4 {
		return // nothing is moved any more, and what a start would make stays beside it
	}
	if restarted && n > 0 {
		h.no(os.MkdirAll(h.path("image/overlay2/layerdb/sha256"), 0o700))
	}
	if restarted && n > 1 {
		h.no(os.MkdirAll(h.path("overlay2/l"), 0o700))
	}
}

// TestTwoSetsAreNotMerged: both places hold something.
func TestTwoSetsAreNotMerged(t *testing.T) {
	h := newOverlay2Host(t)
	h.write(target+"/"+hexID("other")+"/link", "x")
	if err := h.run(h.moveJob(), &fakeStore{}); !errors.Is(err, fault.Exists) {
		t.Errorf("layers: %v", err)
	}
	h = newOverlay2Host(t)
	h.write("image/overlayzfs/imagedb/content/sha256/"+hexID("other"), "x")
	if err := h.run(h.moveJob(), &fakeStore{}); !errors.Is(err, fault.Exists) {
		t.Errorf("images: %v", err)
	}
	h = newOverlay2Host(t)
	h.cutShort(2, false)
	h.write("image/overlay2/imagedb/content/sha256/"+hexID("pulled in between"), "x")
	h.write("overlay2/"+hexID("pulled in between")+"/link", "x")
	if err := h.run(nil, &fakeStore{}); !errors.Is(err, fault.Exists) || !strings.Contains(err.Error(), "during the migration") {
		t.Errorf("a driver used in between: %v", err)
	}
}

// TestAdoptChecksLayers: a store adopts only layers that mean the same to it.
func TestAdoptChecksLayers(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(h host, layer string)
		says  string
	}{
		"Nothing": {func(host, string) {}, ""},
		"Gone":    {func(h host, layer string) { h.no(os.RemoveAll(layer)) }, "is missing in"},
		"Link":    {func(h host, layer string) { h.no(os.Remove(layer + "/link")) }, "link"},
		"Version": {func(h host, layer string) { h.no(os.WriteFile(layer+"/link", []byte("short"), 0o600)) }, "damaged"},
		"Lower":   {func(h host, layer string) { h.no(os.Remove(layer + "/lower")) }, "recorded"},
		"Index":   {func(h host, layer string) { h.no(os.Mkdir(layer+"/work/index", 0o700)) }, "index"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newOverlay2Host(t)
			tt.spoil(h, h.path("overlay2/"+hexID("mount of web")))
			r, err := openDataRoot(h.dir)
			h.no(err)
			defer r.Close()
			items, err := listItems(h.records("overlay2"), func(string) (map[string]string, error) { return nil, nil })
			h.no(err)
			p := &planner{root: r, items: items, plan: &Plan{}}
			view, err := overlayzfs.OpenHomeReadOnly(h.path("overlay2"))
			h.no(err)
			h.no(p.checkAdoptable(view, h.path("overlay2"), "overlay2"))
			if err := p.plan.CheckObstacles(); (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v, want %q", err, tt.says)
			}
		})
	}
}

// TestItemsStandOnEarlierOnes, and know whose they are.
func TestItemsStandOnEarlierOnes(t *testing.T) {
	h := newOverlay2Host(t)
	docker, err := dockerstore.Open(h.dir)
	h.no(err)
	defer docker.Close()
	h.write("containers/"+hexID("web")+"/hostconfig.json", `{"StorageOpt":{"size":"1G"}}`)
	items, err := listItems(h.records("overlay2"), docker.StorageOptions)
	h.no(err)
	seen := map[string]bool{"": true}
	limited := 0
	for _, it := range items {
		if !seen[it.parent] {
			t.Errorf("%s comes before %s, on which it stands", it.id, it.parent)
		}
		seen[it.id] = true
		if it.limit["size"] == "1G" {
			limited++
		}
	}
	if len(items) != 6 || limited != 1 {
		t.Errorf("%d items, %d limited", len(items), limited)
	}
}

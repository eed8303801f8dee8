package migrate

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// TestALayerOfOverlay2s is made whole, in that driver's layout, and stands on
// others.
func TestALayerOfOverlay2s(t *testing.T) {
	h := newHost(t, "overlayzfs")
	before := h.everything()
	h.no(h.within(func(r *dataRoot) error {
		h.no(r.Mkdir(workDir, 0o700))
		s := overlay2Store{r}
		h.no(s.makeDirs())
		h.no(s.Create(t.Context(), hexID("base"), "", overlayzfs.CreateOptions{}))
		if layers, err := s.Layers(t.Context()); err != nil || len(layers) > 0 {
			t.Errorf("there before it is whole: %v, %v", layers, err)
		}
		h.no(s.Fill(t.Context(), hexID("base"), func(dir *os.File) error {
			return errors.Join(os.Mkdir(dir.Name()+"/etc", 0o755), os.WriteFile(dir.Name()+"/etc/motd", []byte("hello"), 0o600))
		}))
		for _, id := range []string{"top", "child"} {
			parent := map[string]string{"top": "base", "child": "top"}[id]
			h.no(s.Create(t.Context(), hexID(id), hexID(parent), overlayzfs.CreateOptions{}))
			h.no(s.Fill(t.Context(), hexID(id), func(dir *os.File) error {
				return os.WriteFile(dir.Name()+"/name", []byte(id), 0o600)
			}))
		}
		view, err := overlayzfs.OpenHomeReadOnly(h.path("overlay2"))
		h.no(err)
		layers, err := view.Layers()
		h.no(err)
		got := map[string][]string{}
		for _, l := range layers {
			h.no(l.Damaged)
			got[l.ID] = l.Lowers
		}
		want := map[string][]string{hexID("base"): nil, hexID("top"): {hexID("base")}, hexID("child"): {hexID("top"), hexID("base")}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if err := s.Create(t.Context(), hexID("x"), hexID("top"), overlayzfs.CreateOptions{StorageOpt: map[string]string{"size": "1G"}}); err == nil {
			t.Error("a limit was dropped")
		}
		for _, id := range []string{"child", "top", "base", "base"} {
			h.no(s.Remove(t.Context(), hexID(id)))
		}
		left, err := r.listNames("overlay2/l")
		h.no(err)
		if len(left) > 0 {
			t.Errorf("short names are left: %q", left)
		}
		return r.RemoveAll("overlay2")
	}))
	h.no(os.RemoveAll(h.path(workDir)))
	if diff := cmp.Diff(before, h.everything()); diff != "" {
		t.Error(diff)
	}
}

// TestCopiedRecordsAreNotLost: dockerd was started with a copy of the records and
// made something.
func TestCopiedRecordsAreNotLost(t *testing.T) {
	h := newVFSHost(t)
	h.no(h.within(func(r *dataRoot) error {
		h.no(r.Mkdir(workDir, 0o700))
		h.no(r.copyRecords(&Job{From: "vfs", To: "overlayzfs"}))
		h.no(r.copyRecords(&Job{From: "vfs", To: "overlayzfs"}))
		h.write("image/overlayzfs/imagedb/content/sha256/"+hexID("new"), "x")
		if err := r.copyRecords(&Job{From: "vfs", To: "overlayzfs"}); err == nil || !strings.Contains(err.Error(), hexID("new")) {
			t.Errorf("%v", err)
		}
		return nil
	}))
}

// TestCopyBack takes layers from a store to overlay2 one by one, as they are or by
// their tars, is cut short by dockerd's start on the plugin, and is undone.
func TestCopyBack(t *testing.T) {
	for name, share := range map[string]bool{"AsTheyAre": true, "ByTheirTars": false} {
		t.Run(name, func(t *testing.T) {
			h := newOverlay2Host(t)
			h.no(h.run(h.moveJob(), &fakeStore{}))
			h.no(Finish(t.Context(), h.dir, (&fakeStore{}).tools()))
			before := h.everything()
			j := &Job{Method: Copy, From: "overlayzfs", To: "overlay2", Layers: target, Target: overlay2Dir, Share: share, Config: h.config, ConfigWas: h.configWas()}
			h.no(h.run(j, &fakeStore{}))
			view, err := overlayzfs.OpenHomeReadOnly(h.path("overlay2"))
			h.no(err)
			layers, err := view.Layers()
			if err != nil || len(layers) != 6 {
				t.Errorf("%d layers, %v", len(layers), err)
			}
			for _, l := range layers {
				h.no(l.Damaged)
			}
			raw, err := os.ReadFile(h.path("overlay2/" + hexID("mount of web") + "/diff/data"))
			if err != nil || string(raw) != "web" {
				t.Errorf("a container's file holds %q, %v", raw, err)
			}
			records := h.records("overlay2")
			if len(records.Containers) != 2 || len(records.Layers) != 2 || len(records.Damaged)+len(records.Gaps()) > 0 {
				t.Errorf("records: %+v", records)
			}
			h.no(Undo(t.Context(), h.dir, (&fakeStore{}).tools()))
			if diff := cmp.Diff(before, h.everything()); diff != "" {
				t.Errorf("after an undo, - before, + now:\n%s", diff)
			}
		})
	}
}

// TestBackDoesNotForgetWhatRan: while records are switched, dockerd may have run on
// either side.
func TestBackDoesNotForgetWhatRan(t *testing.T) {
	for _, tt := range []struct {
		phase Phase
		token string
		again bool
	}{
		{Carrying, "x", true}, {Switching, "x", false}, {Switching, "y", true},
	} {
		j := &Job{Method: Copy, From: "overlayzfs", To: "overlay2", Phase: tt.phase, Token: "x"}
		again, err := j.needsCarry((&fakeStore{token: tt.token}).tools())
		if err != nil || again != tt.again {
			t.Errorf("%+v: %v, %v", tt, again, err)
		}
	}
}

// trees is a fakeStore of whole trees, as a driver of clones has them.
type trees struct{ *fakeStore }

func (s trees) Create(_ context.Context, id, parent string, _ overlayzfs.CreateOptions) error {
	if parent == "" {
		return os.Mkdir(filepath.Join(s.dir, id), 0o755)
	}
	return os.CopyFS(filepath.Join(s.dir, id), os.DirFS(filepath.Join(s.dir, parent)))
}

// TestBackToClones changes a copy of the layer below for each layer, and compares
// the digests of what comes out.
func TestBackToClones(t *testing.T) {
	h := newOverlay2Host(t)
	h.no(h.run(h.moveJob(), &fakeStore{}))
	mount := hexID("mount of web")
	h.no(unix.Mknod(h.path(target+"/"+mount+"/diff/etc"), unix.S_IFCHR, 0)) // the container deleted it
	r, err := openDataRoot(h.dir)
	h.no(err)
	defer r.Close()
	docker, err := dockerstore.Open(h.dir)
	h.no(err)
	defer docker.Close()
	carry := func() (trees, []string, error) {
		j := &Job{Method: Copy, From: "overlayzfs", To: "zfs", Layers: target, StoreWasEmpty: true}
		from, err := j.openStoreSource(r)
		h.no(err)
		defer from.root.Close()
		s := trees{&fakeStore{dir: t.TempDir()}}
		items, err := listItems(h.records("overlayzfs"), docker.StorageOptions)
		h.no(err)
		c := &carrier{job: j, root: r, docker: docker, records: h.records("overlayzfs"), source: from, store: s, progress: func(int64) {}}
		err = c.carry(t.Context(), items)
		return s, c.notes, err
	}
	s, notes, err := carry()
	h.no(err)
	if len(notes) > 0 {
		t.Errorf("%q", notes)
	}
	for name, want := range map[string]string{
		hexID("base") + "/etc/motd": "hello", hexID("top") + "/etc/motd": "changed", mount + "-init/etc/motd": "changed", mount + "-init/etc/hosts": "", mount + "/data": "web",
		hexID("mount of db") + "/etc/motd": "changed",
	} {
		if raw, err := os.ReadFile(filepath.Join(s.dir, name)); err != nil || string(raw) != want {
			t.Errorf("%s holds %q, %v", name, raw, err)
		}
	}
	if _, err := os.Lstat(filepath.Join(s.dir, mount, "etc")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what the container deleted: %v", err)
	}
	h.write(target+"/"+hexID("top")+"/diff/etc/motd", "spoiled")
	if _, notes, err := carry(); err != nil || len(notes) != 1 || !strings.Contains(notes[0], "of x:latest is not what Docker recorded") {
		t.Errorf("a spoiled layer: %q, %v", notes, err)
	}
}

package migrate

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// TestALayerOfOverlay2s is made whole, in that driver's layout, and stands on
// others.
func TestALayerOfOverlay2s(t *testing.T) {
	h := newHost(t, "overlayzfs")
	before := h.everything()
	h.no(h.within(func(r *dataRoot) error {
		h.no(r.Mkdir(workDir, 0o700))
		s := overlay2{r}
		h.no(s.open())
		h.no(s.Create(t.Context(), hexID("base"), "", overlayzfs.CreateOptions{}))
		if layers, err := s.Layers(t.Context()); err != nil || len(layers) > 0 {
			t.Errorf("there before it is whole: %v, %v", layers, err)
		}
		_, err := s.ApplyDiff(t.Context(), hexID("base"), "", strings.NewReader(string(tarOf(file{"etc/motd", "hello"}))))
		h.no(err)
		for _, id := range []string{"top", "child"} {
			parent := map[string]string{"top": "base", "child": "top"}[id]
			h.no(s.Create(t.Context(), hexID(id), hexID(parent), overlayzfs.CreateOptions{}))
			h.no(s.Fill(t.Context(), hexID(id), func(dir *os.File) error {
				return os.WriteFile(dir.Name()+"/name", []byte(id), 0o600)
			}))
		}
		view, err := overlayzfs.ViewHome(h.path("overlay2"))
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
		left, err := r.names("overlay2/l")
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
	h := onVFS(t)
	h.no(h.within(func(r *dataRoot) error {
		h.no(r.Mkdir(workDir, 0o700))
		h.no(r.copyRecords("vfs", "overlayzfs"))
		h.no(r.copyRecords("vfs", "overlayzfs"))
		h.write("image/overlayzfs/imagedb/content/sha256/"+hexID("new"), "x")
		if err := r.copyRecords("vfs", "overlayzfs"); err == nil || !strings.Contains(err.Error(), hexID("new")) {
			t.Errorf("%v", err)
		}
		return nil
	}))
}

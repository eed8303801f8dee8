package migrate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFinishKeepsLayersInUse: finish is refused while anything names the old layers as in
// use, or the new ones as unused.
func TestFinishKeepsLayersInUse(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(h host, s *fakeStore)
		says  string
	}{
		"Nothing":      {func(host, *fakeStore) {}, ""},
		"Config":       {func(h host, _ *fakeStore) { h.no(os.WriteFile(h.config, []byte(`{"storage-driver":"vfs"}`), 0o600)) }, "names \"vfs\""},
		"No driver":    {func(h host, _ *fakeStore) { h.no(os.WriteFile(h.config, []byte(`{}`), 0o600)) }, "names no driver"},
		"Command line": {func(h host, _ *fakeStore) { h.no(os.Remove(h.config)) }, "--leave-config"},
		"Container": {func(h host, _ *fakeStore) {
			id := hexID("later")
			h.write("containers/"+id+"/config.v2.json", fmt.Sprintf(`{"ID":%q,"Driver":"vfs","State":{}}`, id))
		}, "after the migration"},
		"Image":  {func(h host, _ *fakeStore) { h.write("image/vfs/imagedb/content/sha256/"+hexID("later"), "x") }, "after the migration"},
		"Layer":  {func(h host, s *fakeStore) { h.no(os.RemoveAll(filepath.Join(s.dir, "top"))) }, "layer top"},
		"Tried":  {func(_ host, s *fakeStore) { s.token = "" }, "has not run"},
		"Record": {func(h host, _ *fakeStore) { h.no(os.RemoveAll(h.path("image/overlayzfs"))) }, "no records"},
	} {
		t.Run(name, func(t *testing.T) {
			h, s := newVFSHost(t), &fakeStore{dir: t.TempDir()}
			h.no(h.run(h.copyJob(), s))
			s.token = "of a start"
			tt.spoil(h, s)
			before := len(h.everything())
			err := Finish(t.Context(), h.dir, s.tools())
			if tt.says == "" {
				h.no(err)
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v, want %q", err, tt.says)
			}
			if !errors.Is(err, ErrRefused) && name != "Layer" && name != "Record" {
				t.Errorf("it is not refused: %v", err)
			}
			if now := len(h.everything()); now != before {
				t.Errorf("there were %d files, and are %d", before, now)
			}
		})
	}
}

// TestUntried is for those who know.
func TestUntried(t *testing.T) {
	h, s := newVFSHost(t), &fakeStore{dir: t.TempDir()}
	h.no(h.run(h.copyJob(), s))
	tools := s.tools()
	tools.Untried = true
	h.no(Finish(t.Context(), h.dir, tools))
	h.carried(s)
}

// TestRecordsOfAStoreThatRanAreKept: on the way back it is the old one that must not
// have run.
func TestRecordsOfAStoreThatRanAreKept(t *testing.T) {
	j := &Job{Method: Copy, From: "overlayzfs", To: "overlay2", Token: "x"}
	if err := j.checkTried((&fakeStore{token: "x"}).tools()); err != nil {
		t.Error(err)
	}
	if err := j.checkTried((&fakeStore{token: "y"}).tools()); err == nil || !strings.Contains(err.Error(), "has run") {
		t.Errorf("%v", err)
	}
}

// TestTheEndOfBtrfs: what a backup brought back are no subvolumes. What Docker does not
// know any more goes as well, and the limits.
func TestTheEndOfBtrfs(t *testing.T) {
	h := newHost(t, "btrfs")
	for _, name := range []string{"subvolumes/layer/etc/motd", "subvolumes/unknown/file", "quotas/layer"} {
		h.write("btrfs/"+name, "x")
	}
	h.no(h.within(func(r *dataRoot) error {
		s := dirSource{root: r, driver: "btrfs"}
		return errors.Join(s.deleteLayer(t.Context(), "layer"), s.deleteLayer(t.Context(), "layer"), s.deleteRest(t.Context()))
	}))
	if _, err := os.Stat(h.path("btrfs")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is left: %v", err)
	}
}

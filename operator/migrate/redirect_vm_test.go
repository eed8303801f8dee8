//go:build vm

package migrate

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/overlayfs"
)

// TestALayerWithARedirectIsCarried: overlayfs wrote it with redirect_dir on, so the directory
// lies in the layer below.
func TestALayerWithARedirectIsCarried(t *testing.T) {
	h, s := newOverlay2Host(t), &fakeStore{dir: t.TempDir()}
	below, upper := h.path("overlay2/"+hexID("base")+"/diff"), h.path("overlay2/"+hexID("top")+"/diff")
	h.no(os.MkdirAll(below+"/old/deep", 0o755))
	h.no(os.WriteFile(below+"/old/deep/file", []byte("kept"), 0o600))
	h.no(os.Mkdir(upper+"/new", 0o755))
	h.no(unix.Setxattr(upper+"/new", overlayfs.RedirectXattr, []byte("/old"), 0))
	h.no(unix.Mknod(upper+"/old", unix.S_IFCHR, 0))
	j := &Job{Method: Copy, From: "overlay2", To: "overlayzfs", Layers: "overlay2", Dataset: "tank/layers", Config: h.config, ConfigWas: h.configWas()}
	h.no(h.run(j, s))
	carried := false
	for _, note := range s.notes {
		carried = carried || strings.Contains(note, "was carried as a tree") && strings.Contains(note, overlayfs.RedirectXattr)
	}
	if !carried {
		t.Errorf("%q", s.notes)
	}
	if raw, err := os.ReadFile(filepath.Join(s.dir, hexID("top"), "new/deep/file")); err != nil || string(raw) != "kept" {
		t.Errorf("%q, %v", raw, err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(s.dir, hexID("top"), "old"), &st); err != nil || !overlayfs.IsWhiteout(st.Mode, st.Rdev) {
		t.Errorf("the old name is no whiteout: %v", err)
	}
	for name, want := range map[string]string{"top": "changed", "base": "hello"} {
		if raw, err := os.ReadFile(filepath.Join(s.dir, hexID(name), "etc/motd")); err != nil || string(raw) != want {
			t.Errorf("%s: %q, %v", name, raw, err)
		}
	}
}

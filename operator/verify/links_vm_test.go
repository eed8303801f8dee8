//go:build vm

package verify

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/overlayfs"
	"github.com/overlayzfs/overlayzfs/layertar"
)

// unpackOn unpacks a tar into a directory over another one, in which low/file has content and
// low is mode 0700.
func unpackOn(t *testing.T, r tarRecord) (dir, below string) {
	t.Helper()
	dir, below = t.TempDir(), t.TempDir()
	var whole bytes.Buffer
	write := func(string) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }
	check(t, os.Mkdir(filepath.Join(below, "low"), 0o700))
	check(t, os.WriteFile(filepath.Join(below, "low/file"), []byte("below"), 0o644))
	check(t, r.WriteTar(&whole, write))
	upper, lower := openBoth(t, dir, below)
	defer upper.Close()
	defer lower.Close()
	_, err := layertar.Extract(t.Context(), upper, &whole, layertar.Options{Below: func() (*os.File, error) { return lower, nil }})
	check(t, err)
	return dir, below
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func aLink(name, target string) *tar.Header {
	h := header(name, tar.TypeLink, 0o644)
	h.Linkname = target
	return h
}

// TestLinksToWhatTheLayerReplaces: a hard link to a file of a layer below is a copy of it, and a
// later entry deletes or replaces that file.
func TestLinksToWhatTheLayerReplaces(t *testing.T) {
	const changed, unproven = "is not a hard link to", "which a later entry of the tar replaces"
	for what, tt := range map[string]struct {
		layer tarRecord
		says  string // of another content
	}{
		"a whiteout":           {tarRecord{aLink("n", "low/file"), deletion("low/.wh.file")}, unproven},
		"a device":             {tarRecord{aLink("n", "low/file"), header("low/file", tar.TypeChar, 0o600)}, unproven},
		"a whiteout above":     {tarRecord{aLink("n", "low/file"), deletion(".wh.low")}, changed},
		"an opaque marker":     {tarRecord{aLink("n", "low/file"), deletion("low/.wh..wh..opq")}, changed},
		"another file":         {tarRecord{aLink("n", "low/file"), header("low/file", tar.TypeReg, 0o600)}, unproven},
		"another link":         {tarRecord{aLink("n", "low/file"), header("g", tar.TypeReg, 0o600), aLink("low/file", "g")}, unproven},
		"nothing":              {tarRecord{aLink("n", "low/file")}, changed},
		"a link to the link":   {tarRecord{aLink("n", "low/file"), aLink("m", "n")}, changed},
		"a device, then links": {tarRecord{header("low/file", tar.TypeChar, 0o600), aLink("n", "low/file")}, ""},
	} {
		dir, below := unpackOn(t, tt.layer)
		if err := compareOn(t.Context(), t, tt.layer, dir, below); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if tt.says == "" {
			continue
		}
		check(t, os.WriteFile(filepath.Join(dir, "n"), []byte("other"), 0o644))
		err := compareOn(t.Context(), t, tt.layer, dir, below)
		if err == nil || !strings.Contains(err.Error(), tt.says) || (classify(err) == Unproven) != (tt.says == unproven) {
			t.Errorf("%s, another content: %v", what, err)
		}
	}
}

// TestOverlayfsOwnMarkInATar: the plugin takes the mark for an opaque marker, containerd leaves
// it out.
func TestOverlayfsOwnMarkInATar(t *testing.T) {
	opaque := header("low/", tar.TypeDir, 0o755)
	opaque.PAXRecords = map[string]string{paxXattr + overlayfs.OpaqueXattr: overlayfs.OpaqueValue}
	layer := tarRecord{opaque, header("low/new", tar.TypeReg, 0o644)}
	dir, below := unpackOn(t, layer)
	if err := compareOn(t.Context(), t, layer, dir, below); err != nil {
		t.Errorf("as unpacked: %v", err)
	}
	check(t, unix.Removexattr(filepath.Join(dir, "low"), overlayfs.OpaqueXattr))
	if err := compareOn(t.Context(), t, layer, dir, below); err == nil || classify(err) != Unproven {
		t.Errorf("without the mark: %v", err)
	}
	check(t, unix.Mknod(filepath.Join(dir, "low/file"), unix.S_IFCHR, 0))
	if err := compareOn(t.Context(), t, layer, dir, below); err != nil {
		t.Errorf("with a whiteout of each name: %v", err)
	}
	check(t, os.WriteFile(filepath.Join(dir, "low/extra"), nil, 0o644))
	if err := compareOn(t.Context(), t, layer, dir, below); err == nil || classify(err) != Changed {
		t.Errorf("with another file: %v", err)
	}
}

// TestReplacedLinksLeaveDoubt: an entry that a later one replaces has done something that stays,
// and the record names the later one alone.
func TestReplacedLinksLeaveDoubt(t *testing.T) {
	owned := aLink("n", "f")
	owned.Uid, owned.Mode = 7, 0o600
	through := header("s/deep/x", tar.TypeReg, 0o644)
	toDir := header("s", tar.TypeSymlink, 0o777)
	toDir.Linkname = "low"
	for what, layer := range map[string]tarRecord{
		"the owner is a lost link's":       {header("f", tar.TypeReg, 0o644), owned, header("./n", tar.TypeReg, 0o644)},
		"the path was a lost symlink's":    {toDir, through, header("./s", tar.TypeReg, 0o644)},
		"the link's directory is replaced": {header("f", tar.TypeReg, 0o644), aLink("d/n", "f"), header("d", tar.TypeReg, 0o644)},
		"the target's is":                  {header("d/f", tar.TypeReg, 0o644), aLink("n", "d/f"), header("d", tar.TypeReg, 0o644)},
	} {
		dir, below := unpackOn(t, layer)
		if err := compareOn(t.Context(), t, layer, dir, below); err != nil && classify(err) != Unproven {
			t.Errorf("%s: %v", what, err)
		}
	}
	layer := tarRecord{header("f", tar.TypeReg, 0o644), header("g", tar.TypeReg, 0o644), aLink("n", "f")}
	dir, below := unpackOn(t, layer)
	check(t, os.Chmod(filepath.Join(dir, "g"), 0o600))
	if err := compareOn(t.Context(), t, layer, dir, below); err == nil || classify(err) != Changed {
		t.Errorf("no link is replaced: %v", err)
	}
}

// TestOpaqueMarkersThroughSymlinks: the marker's directory is one that a symlink of the layer
// leads to.
func TestOpaqueMarkersThroughSymlinks(t *testing.T) {
	toDir := header("s", tar.TypeSymlink, 0o777)
	toDir.Linkname = "low"
	layer := tarRecord{toDir, deletion("s/.wh..wh..opq"), header("low/new", tar.TypeReg, 0o644)}
	dir, below := unpackOn(t, layer)
	if err := compareOn(t.Context(), t, layer, dir, below); err != nil {
		t.Errorf("as unpacked: %v", err)
	}
	check(t, unix.Removexattr(filepath.Join(dir, "low"), overlayfs.OpaqueXattr))
	if err := compareOn(t.Context(), t, layer, dir, below); err == nil || classify(err) != Changed {
		t.Errorf("without the mark: %v", err)
	}
	toDir.Linkname = "elsewhere"
	layer = tarRecord{toDir, deletion("s/.wh..wh..opq")}
	dir, below = unpackOn(t, layer)
	if err := compareOn(t.Context(), t, layer, dir, below); err != nil {
		t.Errorf("with a directory that the marker alone implies: %v", err)
	}
}

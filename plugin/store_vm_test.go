//go:build vm

package plugin

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The protocol over a real store on real OpenZFS, with TMPDIR on a dataset.

// newStoreRig serves a real store and sends Init.
func newStoreRig(t *testing.T, state string, p InitParams) *rig {
	t.Helper()
	r := serve(t, StoreOpener(nil, nil), state)
	if err := r.Init(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	return r
}

func layerTar(t *testing.T, owner int, names ...string) *bytes.Buffer {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, name := range names {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Uid: owner, Gid: owner, Size: int64(len(name))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, name); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &buf
}

// TestIDMapsAreHonoured goes the whole way of a layer with maps: a tar carries
// owners as containers see them, the disk has them as the host does.
func TestIDMapsAreHonoured(t *testing.T) {
	maps := []IDMap{{ContainerID: 0, HostID: 100000, Size: 65536}}
	r := newStoreRig(t, "", InitParams{Home: filepath.Join(t.TempDir(), "home"), UIDMaps: maps, GIDMaps: maps})
	ctx := t.Context()
	fatal := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	fatal(r.Create(ctx, "base", "", CreateOptions{}))
	_, err := r.ApplyDiff(ctx, "base", "", layerTar(t, 7, "file"))
	fatal(err)
	fatal(r.Create(ctx, "top", "base", CreateOptions{ReadWrite: true}))
	dir, err := r.Get(ctx, "top", "")
	fatal(err)
	requireOwner(t, dir, 100000)
	requireOwner(t, filepath.Join(dir, "file"), 100007)
	fatal(os.WriteFile(filepath.Join(dir, "new"), nil, 0o600))
	fatal(os.Chown(filepath.Join(dir, "new"), 100042, 100042))
	fatal(r.Put(ctx, "top"))

	stream, err := r.Diff(ctx, "top", "base")
	fatal(err)
	owners := map[string]int{}
	for tr := tar.NewReader(stream); ; {
		hdr, err := tr.Next()
		if err == io.EOF {
			break
		}
		fatal(err)
		owners[strings.TrimSuffix(hdr.Name, "/")] = hdr.Uid
	}
	fatal(stream.Close())
	if owners["new"] != 42 {
		t.Errorf("owners in the diff: %v", owners)
	}
	fatal(r.Create(ctx, "bad", "", CreateOptions{}))
	_, err = r.ApplyDiff(ctx, "bad", "", layerTar(t, 70000, "unmapped"))
	wantText(t, err, "apply diff to layer bad", "unmapped", "70000")
	fatal(r.Remove(ctx, "bad"))
	fatal(r.Remove(ctx, "top"))
	fatal(r.Remove(ctx, "base"))
}

func requireOwner(t *testing.T, path string, want uint32) {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	if st.Uid != want || st.Gid != want {
		t.Errorf("%s belongs to %d:%d, want %d", path, st.Uid, st.Gid, want)
	}
}

// TestAStoreComesBackWithoutInit stops the server and starts another on the
// same state: layers are there, and what is mounted is known.
func TestAStoreComesBackWithoutInit(t *testing.T) {
	dir := t.TempDir()
	state := filepath.Join(dir, "init.json")
	first := newStoreRig(t, state, InitParams{Home: filepath.Join(dir, "home")})
	ctx := t.Context()
	for _, err := range []error{
		first.Create(ctx, "base", "", CreateOptions{}),
		first.Create(ctx, "top", "base", CreateOptions{ReadWrite: true}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	merged, err := first.Get(ctx, "top", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	second := serve(t, StoreOpener(nil, nil), state)
	if again, err := second.Get(ctx, "top", ""); err != nil || again != merged {
		t.Errorf("mounted on %q, then %q, %v", merged, again, err)
	}
	for range 2 { // the one of before, and ours
		if err := second.Put(ctx, "top"); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(merged); !os.IsNotExist(err) {
		t.Errorf("still mounted: %v", err)
	}
}

// TestHostileCallsLeaveTheStoreAlone sends what no engine would.
func TestHostileCallsLeaveTheStoreAlone(t *testing.T) {
	dir := t.TempDir()
	home := filepath.Join(dir, "home")
	r := newStoreRig(t, "", InitParams{Home: home})
	ctx := t.Context()
	victim := filepath.Join(dir, "victim")
	if err := os.WriteFile(victim, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := tree(t, dir)
	for _, id := range []string{"", ".", "..", "../victim", "/etc", "a/b", "l", ".overlayzfs", "a\x00b", "a,upperdir=/etc", "a:b", strings.Repeat("a", 300)} {
		calls := map[string]error{
			"create": r.Create(ctx, id, "", CreateOptions{}),
			"child":  r.Create(ctx, "child", "../"+id, CreateOptions{}),
			"remove": r.Remove(ctx, id),
			"put":    r.Put(ctx, id),
		}
		_, calls["get"] = r.Get(ctx, id, "")
		_, calls["apply"] = r.ApplyDiff(ctx, id, "", layerTar(t, 0, "f"))
		_, calls["diff"] = r.Diff(ctx, id, "")
		_, calls["size"] = r.DiffSize(ctx, id, "")
		for name, err := range calls {
			if err == nil {
				t.Errorf("%s of %.20q was done", name, id)
			}
		}
	}
	if after := tree(t, dir); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		b.WriteString(strings.TrimPrefix(path, dir) + "\n")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

package containerdconf

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// write writes files into a directory, and returns the path of config.toml.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "config.toml")
}

const (
	proxy    = "[proxy_plugins.overlayzfs]\ntype = 'snapshot'\naddress = '/run/x'\n"
	cri17    = "[plugins.'io.containerd.grpc.v1.cri'.containerd]\nsnapshotter = 'overlayzfs'\n"
	runtimes = "[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.runc]\nruntime_type = 'x'\n"
	cri2     = "[plugins.'io.containerd.cri.v1.images']\nsnapshotter = 'overlayzfs'\n"
	gvisor   = "[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.gvisor]\nsnapshotter = 'native'\n"
	unpack   = "[[plugins.'io.containerd.transfer.v1.local'.unpack_config]]\nplatform = 'linux'\nsnapshotter = 'overlayzfs'\n"
)

func TestSnapshotters(t *testing.T) {
	type want struct {
		proxy       bool
		old, modern map[string]string
		unpack      []string
	}
	overlayfs, ours := map[string]string{"": "overlayfs"}, map[string]string{"": "overlayzfs"}
	plain := []string{"overlayfs"}
	for name, tt := range map[string]struct {
		files map[string]string
		want  want
	}{
		"no file":             {nil, want{false, overlayfs, overlayfs, plain}},
		"empty":               {map[string]string{"config.toml": ""}, want{false, overlayfs, overlayfs, plain}},
		"1.7's table":         {map[string]string{"config.toml": "version = 2\n" + proxy + cri17}, want{true, ours, overlayfs, plain}},
		"with runtimes":       {map[string]string{"config.toml": "version = 2\n" + cri17 + runtimes}, want{false, ours, ours, plain}},
		"runtimes elsewhere":  {map[string]string{"config.toml": "version = 2\nimports = ['a.toml']\n" + cri17, "a.toml": "version = 2\n" + runtimes}, want{false, overlayfs, overlayfs, plain}},
		"version 3":           {map[string]string{"config.toml": "version = 3\n" + cri2 + gvisor + unpack}, want{false, overlayfs, map[string]string{"": "overlayzfs", "gvisor": "native"}, []string{"overlayzfs"}}},
		"a drop-in":           {map[string]string{"config.toml": "version = 3\nimports = ['conf.d/*.toml']\n", "conf.d/a.toml": "version = 3\n" + proxy + cri2 + unpack}, want{true, overlayfs, ours, []string{"overlayzfs"}}},
		"a drop-in wins":      {map[string]string{"config.toml": "version = 3\nimports = ['a.toml']\n" + cri2, "a.toml": "version = 3\n[plugins.'io.containerd.cri.v1.images']\nsnapshotter = 'zfs'\n"}, want{false, overlayfs, map[string]string{"": "zfs"}, plain}},
		"imports in a circle": {map[string]string{"config.toml": "version = 3\nimports = ['config.toml', 'none.d/*.toml']\n"}, want{false, overlayfs, overlayfs, plain}},
		"no tables":           {map[string]string{"config.toml": "version = 2\n[plugins]\n'io.containerd.grpc.v1.cri' = 1\n'io.containerd.transfer.v1.local' = 'x'\n"}, want{false, overlayfs, overlayfs, plain}},
	} {
		c, err := Read(write(t, tt.files))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := want{c.HasSnapshotter("overlayzfs"), c.PodSnapshotters(false), c.PodSnapshotters(true), c.UnpackSnapshotters()}
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(want{})); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestRead(t *testing.T) {
	c, err := Read(write(t, map[string]string{"config.toml": "version = 3\nroot = '/a'\nimports = ['b.toml']\n", "b.toml": "version = 3\nroot = '/srv/b/'\n"}))
	if err != nil || c.Root != "/srv/b" || len(c.Files) != 2 {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := Read(write(t, nil)); err != nil || c.Root != DefaultRoot || len(c.Files) > 0 {
		t.Errorf("without a file: %+v, %v", c, err)
	}
	if _, err := Read(write(t, map[string]string{"config.toml": "["})); !errors.Is(err, fault.Invalid) {
		t.Errorf("a broken file: %v", err)
	}
	if _, err := Read(write(t, map[string]string{"config.toml": "imports = ['none.toml']\n"})); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing import, with which containerd does not start: %v", err)
	}
}

func TestFileOf(t *testing.T) {
	for root, want := range map[string]string{
		"/var/lib/containerd/": DefaultFile, "/nowhere": "",
		"/var/lib/rancher/k3s/agent/containerd": "/var/lib/rancher/k3s/agent/etc/containerd/config.toml",
	} {
		if got := FileOf(root); got != want {
			t.Errorf("%s: %q", root, got)
		}
	}
}

// FuzzRead reads what somebody else wrote.
func FuzzRead(f *testing.F) {
	for _, text := range []string{proxy, "version = 2\n" + cri17 + runtimes, "version = 3\n" + cri2 + gvisor + unpack, "plugins = 1\n", "version = 2\n[plugins.'io.containerd.grpc.v1.cri']\ncontainerd = 1\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(t.TempDir(), "config.toml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Read(path)
		if err != nil {
			return
		}
		if c.PodSnapshotters(true)[""] == "" || c.PodSnapshotters(false)[""] == "" || slices.Contains(c.Files, "") {
			t.Errorf("%+v", c)
		}
		c.UnpackSnapshotters()
	})
}

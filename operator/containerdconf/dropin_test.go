package containerdconf

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

var ours = Wanted{Name: "overlayzfs", Socket: "/run/s.sock", Root: "/srv/s", RemapIDs: true}

// TestDropIn adds the snapshotter to configurations, and reads what containerd makes of both.
func TestDropIn(t *testing.T) {
	const cri = "[plugins.'io.containerd.grpc.v1.cri']\nsandbox_image = 'mine'\n[plugins.'io.containerd.grpc.v1.cri'.containerd]\ndefault_runtime_name = 'mine'\n" + runtimes
	const native = "[[plugins.'io.containerd.transfer.v1.local'.unpack_config]]\nplatform = 'linux/amd64'\nsnapshotter = 'native'\ndiffer = 'x'\n"
	const importing = "imports = ['conf.d/overlayzfs*.toml']\n"
	for name, main := range map[string]string{
		"minimal": "version = 2\n" + importing, "version 3": "version = 3\n" + importing + cri2, "another's list": "version = 2\n" + importing + native,
		"a CRI": "version = 2\n" + importing + cri, "on overlayfs": "version = 2\n" + importing + strings.Replace(cri17, "overlayzfs", "overlayfs", 1) + runtimes,
		"another address": "version = 2\n" + importing + proxy,
	} {
		for _, modern := range []bool{false, true} {
			for _, pods := range []bool{false, true} {
				path := write(t, map[string]string{"config.toml": main})
				file := filepath.Join(filepath.Dir(path), "conf.d/overlayzfs.toml")
				w := ours
				w.Modern, w.Pods = modern, pods
				before, err := Read(path)
				if err != nil || before.Lacks(w) == "" || !before.WouldImport(file) {
					t.Fatalf("%s: %+v, %v", name, before, err)
				}
				text, err := before.DropIn(w)
				if err := errors.Join(err, os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, text, 0o600)); err != nil {
					t.Fatal(err)
				}
				after, err := Read(path)
				if lacks := after.Lacks(w); err != nil || lacks != "" {
					t.Errorf("%s, modern %v, pods %v: it lacks %s, %v\n%s", name, modern, pods, lacks, err, text)
				}
				if old, there := table(after.plugins, criTable, "containerd")["snapshotter"]; pods && main != "version = 3\n"+importing+cri2 && (!there || old != "overlayzfs") {
					t.Errorf("%s, modern %v: 1.7's table names %v\n%s", name, modern, old, text)
				}
				requireKept(t, name, before, after, text, w)
				again, err := ReadWithout(path, file)
				if err != nil {
					t.Fatal(err)
				}
				if second, err := again.DropIn(w); err != nil || string(second) != string(text) {
					t.Errorf("%s, a second time: %v\n%s", name, err, second)
				}
			}
		}
	}
}

// requireKept fails the test unless the settings that are not ours stay.
func requireKept(t *testing.T, name string, before, after Config, text []byte, w Wanted) {
	t.Helper()
	for _, plugins := range []func(Config) map[string]any{func(c Config) map[string]any { return c.plugins }, func(c Config) map[string]any { return c.legacy }} {
		was, is := table(plugins(before), criTable), table(plugins(after), criTable)
		if w.Modern { // 1.7 does not read it
			was, is = table(before.plugins, criTable), table(after.plugins, criTable)
		}
		if w.Pods && len(was) > 0 { // less what is ours
			is = copyTable(is)
			is["containerd"] = copyTable(table(is, "containerd"))
			for _, key := range []string{"snapshotter", "disable_snapshot_annotations"} {
				delete(table(is, "containerd"), key)
				delete(table(was, "containerd"), key)
			}
		}
		if diff := cmp.Diff(was, is); diff != "" && len(was) > 0 {
			t.Errorf("%s: %s\n%s", name, diff, text)
		}
	}
	for _, snapshotter := range before.UnpackSnapshotters() {
		if !strings.Contains(strings.Join(after.UnpackSnapshotters(), " "), snapshotter) {
			t.Errorf("%s: nothing is unpacked into %s\n%s", name, snapshotter, text)
		}
	}
}

// TestDropInOfVersion1 is Docker's own package: its configuration disables the CRI by the name of
// version 1, which containerd 1.7 refuses beside a file of version 2.
func TestDropInOfVersion1(t *testing.T) {
	c, err := Read(write(t, map[string]string{"config.toml": "disabled_plugins = ['cri']\n"}))
	if err != nil {
		t.Fatal(err)
	}
	old, modern, pods := ours, ours, ours
	modern.Modern, pods.Pods = true, true
	if text, err := c.DropIn(old); err != nil || strings.Contains(string(text), "version") || strings.Contains(string(text), "plugins.'io") || !strings.Contains(string(text), "[proxy_plugins.overlayzfs]") {
		t.Errorf("%s, %v", text, err)
	}
	if text, err := c.DropIn(modern); err != nil || !strings.Contains(string(text), "version = 2") || !strings.Contains(string(text), "remap-ids") {
		t.Errorf("%s, %v", text, err)
	}
	if _, err := c.DropIn(pods); !errors.Is(err, fault.Unsupported) {
		t.Errorf("pods: %v", err)
	}
}

// TestLegacyTables: containerd 1.7 replaces a plugin's table as a whole.
func TestLegacyTables(t *testing.T) {
	c, err := Read(write(t, map[string]string{
		"config.toml": "version = 2\nimports = ['a.toml']\n" + cri17 + runtimes, "a.toml": "version = 2\n[plugins.'io.containerd.grpc.v1.cri']\nsandbox_image = 'x'\n",
	}))
	if err != nil {
		t.Fatal(err)
	}
	if old, modern := c.PodSnapshotters(false)[""], c.PodSnapshotters(true)[""]; old != "overlayfs" || modern != "overlayzfs" {
		t.Errorf("1.7 runs pods on %s, 2 on %s", old, modern)
	}
}

func TestWouldImport(t *testing.T) {
	for text, want := range map[string]bool{
		"": false, "imports = ['conf.d/*.toml']\n": true, "imports = ['conf.d/overlayzfs.toml']\n": true, "imports = ['conf.d/other*.toml', 'x*/*.toml']\n": false,
		"imports = ['conf.d/overlayzfs.tom?']\n": false, // a pattern only with a star
	} {
		files := map[string]string{"config.toml": text, "conf.d/overlayzfs.toml": "", "conf.d/overlayzfs.tom?": ""}
		path := write(t, files)
		c, err := Read(path)
		if got := c.WouldImport(filepath.Join(filepath.Dir(path), "conf.d/overlayzfs.toml")); got != want || err != nil {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

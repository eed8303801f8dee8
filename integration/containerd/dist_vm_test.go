//go:build vm

package containerd

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"text/template"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/operator/containerdconf"
)

// k3sBase stands in for k3s's own configuration of containerd. The snapshotter's name
// comes from config.yaml.
const k3sBase = `version = 2
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "{{ .Snapshotter }}"
`

// TestTheTemplateForK3s renders the template as k3s does, and has containerd read the
// result. The lab has no k3s.
func TestTheTemplateForK3s(t *testing.T) {
	settings, err := os.ReadFile(engine.Dist(t, "k3s/config.yaml"))
	must(t, err)
	if want := "\nsnapshotter: " + engine.SnapshotterName + "\n"; !strings.Contains(string(settings), want) {
		t.Errorf("config.yaml does not say %q:\n%s", want, settings)
	}
	text, err := os.ReadFile(engine.Dist(t, "k3s/config.toml.tmpl"))
	must(t, err)
	rendered := template.Must(template.New("config").Parse(string(text)))
	template.Must(rendered.New("base").Parse(k3sBase))
	path := filepath.Join(t.TempDir(), "config.toml")
	f, err := os.Create(path)
	must(t, err)
	must(t, rendered.Execute(f, map[string]string{"Snapshotter": engine.SnapshotterName}))
	must(t, f.Close())

	ours := []string{"address = '" + engine.SnapshotterSocket + "'", "root = '" + engine.SnapshotterHome + "'", "snapshotter = 'overlayzfs'"}
	for _, config := range []string{path, engine.Dist(t, "containerd/config.toml")} {
		read, err := exec.Command("containerd", "--config", config, "config", "dump").CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", config, err, read)
		}
		plain := strings.ReplaceAll(string(read), `"`, "'")
		for _, want := range ours {
			if !strings.Contains(plain, want) {
				t.Errorf("containerd does not read %[2]s from %[1]s:\n%[3]s", config, want, read)
			}
		}
	}
}

// TestContainerdReadsTheDropInOfSetup: containerd has the snapshotter, and all that the
// administrator's own file sets, which containerd 1.7 replaces by tables.
func TestContainerdReadsTheDropInOfSetup(t *testing.T) {
	dir := t.TempDir()
	main := filepath.Join(dir, "config.toml")
	must(t, os.WriteFile(main, []byte(`version = 2
imports = ["overlayzfs*.toml"]
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "of-mine"
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/of/mine"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.of-mine]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.transfer.v1.local"]
  max_concurrent_downloads = 7
`), 0o644))
	version, err := exec.Command("containerd", "--version").Output()
	must(t, err)
	config, err := containerdconf.Read(main)
	must(t, err)
	text, err := config.DropIn(containerdconf.Wanted{
		Name: engine.SnapshotterName, Socket: engine.SnapshotterSocket, Root: engine.SnapshotterHome, Pods: true, Modern: strings.Contains(string(version), "/v2 "),
	})
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "overlayzfs.toml"), text, 0o644))
	read, err := exec.Command("containerd", "--config", main, "config", "dump").CombinedOutput()
	must(t, err)
	plain := strings.ReplaceAll(string(read), `"`, "'")
	for _, want := range []string{
		"address = '" + engine.SnapshotterSocket + "'", "snapshotter = 'overlayzfs'", "snapshotter = 'overlayfs'", "= 'of-mine'", "'/of/mine'", "runtimes.of-mine]", "max_concurrent_downloads = 7",
	} {
		if !strings.Contains(plain, want) {
			t.Errorf("containerd does not read %s:\n%s\nfrom\n%s", want, read, text)
		}
	}
}

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

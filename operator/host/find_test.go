package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// host is a machine with daemon.json and a plugin.
func host(t *testing.T, daemon, setting string) Overrides {
	t.Helper()
	dir := t.TempDir()
	root := filepath.Join(dir, "docker")
	id := strings.Repeat("a", 64)
	files := map[string]string{filepath.Join(dir, "daemon.json"): strings.ReplaceAll(daemon, "ROOT", root)}
	if setting != "none" {
		files[filepath.Join(root, "plugins", id, "config.json")] = fmt.Sprintf(
			`{"plugin":{"Id":%q,"Name":"overlayzfs:latest","Enabled":true,"Settings":{"Env":["OVERLAYZFS_OPTS=%s"]},"Config":{"Interface":{"Types":["docker.graphdriver/1.0"]}}}}`, id, setting)
	}
	for path, content := range files {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return Overrides{Config: filepath.Join(dir, "daemon.json")}
}

func TestFind(t *testing.T) {
	const plain = `{"data-root":"ROOT","storage-driver":"overlayzfs"}`
	for name, tt := range map[string]struct {
		daemon, setting string
		wanted          Overrides
		dataset         string
	}{
		"the plugin's setting":  {plain, "overlayzfs.snapshots=stop:3,daily:7,overlayzfs.dataset=tank/plugin", Overrides{}, "tank/plugin"},
		"daemon.json wins":      {`{"data-root":"ROOT","storage-driver":"overlayzfs","storage-opts":["OverlayZFS.dataset=tank/daemon"]}`, "overlayzfs.dataset=tank/plugin", Overrides{}, "tank/daemon"},
		"a flag wins":           {plain, "overlayzfs.dataset=tank/plugin", Overrides{Dataset: "tank/flag"}, "tank/flag"},
		"without daemon.json's": {`{"data-root":"ROOT","storage-driver":"overlay2","storage-opts":["overlay2.size=1G"]}`, "overlayzfs.dataset=tank/plugin", Overrides{}, "tank/plugin"},
		"all said by hand":      {`{broken`, "none", Overrides{Root: "/nowhere", Dataset: "tank/flag"}, "tank/flag"},
	} {
		t.Run(name, func(t *testing.T) {
			tt.wanted.Config = host(t, tt.daemon, tt.setting).Config
			s, err := FindStore(tt.wanted)
			if err != nil || s.Dataset != tt.dataset || s.Driver != DefaultDriver {
				t.Errorf("%+v, %v", s, err)
			}
		})
	}
}

func TestInPlace(t *testing.T) {
	w := host(t, `{"data-root":"ROOT","storage-driver":"overlayzfs"}`, "")
	if _, err := FindStore(w); !errors.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "--dataset") {
		t.Errorf("without a store: %v", err)
	}
	home := filepath.Join(filepath.Dir(w.Config), "docker", "plugins", strings.Repeat("a", 64), "propagated-mount", "overlayzfs")
	if err := os.MkdirAll(home, 0o755); err != nil {
		t.Fatal(err)
	}
	if s, err := FindStore(w); err != nil || s.Dataset != "" || s.Home != home || s.Plugin == nil {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestABrokenDaemonJSONIsSaid(t *testing.T) {
	if _, err := FindStore(host(t, "{", "overlayzfs.dataset=tank/plugin")); err == nil || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("%v", err)
	}
}

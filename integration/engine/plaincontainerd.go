package engine

import (
	"os"
	"path/filepath"
	"testing"
)

// plainConfig is the configuration of a containerd without our snapshotter: its defaults.
const plainConfig = "version = 2\n"

// StartPlainContainerd starts a containerd with its default configuration, whose snapshots
// overlayfs makes below root. The end of the test stops it and removes everything but the
// root. It can run beside one on the snapshotter.
func StartPlainContainerd(t testing.TB, root string) *Containerd {
	t.Helper()
	dir, err := os.MkdirTemp("/run", "containerd-")
	if err == nil {
		err = os.Chmod(dir, 0o711) // root of a user name space needs to pass
	}
	if err != nil {
		t.Fatal(err)
	}
	c := &Containerd{ContainerdOptions: ContainerdOptions{Root: root}, dir: dir}
	t.Cleanup(func() {
		c.Stop(t)
		if t.Failed() {
			t.Logf("the end of containerd's log:\n%s", c.tail())
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	config := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(config, []byte(plainConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	c.setCommand(config)
	c.Again(t)
	return c
}

// setCommand sets the command that starts containerd with a configuration.
func (c *Containerd) setCommand(config string) {
	c.Log = filepath.Join(c.dir, "containerd.log")
	c.Args = []string{
		"containerd", "--config", config,
		"--root", c.Root, "--state", filepath.Join(c.dir, "state"), "--address", c.Address(),
	}
}

// StartOverlayfsEngine starts a dockerd with the containerd image store on containerd's
// overlayfs.
func (c *Containerd) StartOverlayfsEngine(t testing.TB, root string) *Engine {
	t.Helper()
	return Start(t, Options{
		Root: root, Driver: "overlayfs", Containerd: c.Address(),
		Config: map[string]any{"features": map[string]bool{"containerd-snapshotter": true}},
	})
}

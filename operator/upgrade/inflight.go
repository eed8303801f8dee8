package upgrade

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/overlayzfs/overlayzfs/operator/dockerd"
)

// lookEvery is the time between two looks at a plugin that an interrupted command may have
// left in the middle of something.
var lookEvery = time.Second

// Await waits for what dockerd still does to a plugin for a command that was killed, and returns
// the plugin as it is then. A disabled plugin takes two looks, a second apart.
func Await(ctx context.Context, client *dockerd.Client, plugin dockerd.Plugin) (dockerd.Plugin, error) {
	return awaitEnd(ctx, client, plugin, "/proc")
}

// awaitEnd waits for what dockerd still does for a command that was killed, and returns the
// plugin as it is then. A second enabling of a plugin that is being enabled ends the first
// one's process, and with it the propagation of the plugin's mounts.
func awaitEnd(ctx context.Context, client *dockerd.Client, plugin dockerd.Plugin, proc string) (dockerd.Plugin, error) {
	for quiet := 0; !plugin.Enabled && quiet < 2; {
		quiet++
		if isRunning(proc, plugin.ID) {
			quiet = 0
		}
		select {
		case <-ctx.Done():
			return plugin, ctx.Err()
		case <-time.After(lookEvery):
		}
		var err error
		if plugin, err = client.Plugin(ctx, plugin.Name); err != nil {
			return plugin, err
		}
	}
	return plugin, nil
}

// isRunning reports whether a process serves the plugin: containerd's shim has its ID among
// its arguments.
func isRunning(proc, id string) bool {
	paths, err := filepath.Glob(filepath.Join(proc, "[0-9]*/cmdline"))
	if err != nil {
		return false
	}
	for _, path := range paths {
		if raw, err := os.ReadFile(path); err == nil && bytes.Contains(raw, []byte("containerd-shim")) && bytes.Contains(raw, []byte("\x00"+id+"\x00")) {
			return true
		}
	}
	return false
}

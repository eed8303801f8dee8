//go:build vm

package conformance

import (
	"errors"
	"fmt"
	"os"
	"testing"

	_ "github.com/docker/docker/daemon/graphdriver/overlay2" // a peer
	_ "github.com/docker/docker/daemon/graphdriver/vfs"      // a peer
	"github.com/docker/docker/pkg/reexec"

	"github.com/overlayzfs/overlayzfs/integration/pluginproc"
)

func TestMain(m *testing.M) {
	if reexec.Init() {
		return
	}
	os.Exit(run(m))
}

// run starts the plugin as a process of its own while the tests run.
func run(m *testing.M) int {
	plugin, err := pluginproc.Start()
	if err != nil {
		fmt.Fprintln(os.Stderr, "start the plugin:", err)
		return 1
	}
	defer stopPlugin(plugin)
	if err := registerProxy(plugin.Socket); err != nil {
		fmt.Fprintln(os.Stderr, "register the proxy:", err)
		return 1
	}
	return m.Run()
}

func stopPlugin(p *pluginproc.Process) {
	if err := errors.Join(p.Stop(), p.Remove()); err != nil {
		fmt.Fprintln(os.Stderr, "stop the plugin:", err)
	}
}

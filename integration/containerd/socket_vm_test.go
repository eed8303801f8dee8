//go:build vm

package containerd

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/engine"
)

// TestCallsWaitAtSystemdsSocket stops the daemon while its socket stays, as
// overlayzfs-snapshotter.socket does. A pull during that time must not fail.
func TestCallsWaitAtSystemdsSocket(t *testing.T) {
	n, archive := newTestContainerd(t, "lab", nil), writeThreeLayers(t)
	n.Snapshotter.Stop(t)
	n.Snapshotter.Socket = openSystemdSocket(t)
	// A containerd without a connection makes a call while nothing serves.
	n.Stop(t)
	n.Again(t)
	importing := n.command("images", "import", snapshotter, archive)
	must(t, importing.Start())
	waitFor(t, checkDialled)
	n.Snapshotter.Again(t)
	must(t, importing.Wait())
	n.requireSame(t, archive)
	// The daemon does not remove systemd's socket.
	n.Snapshotter.Stop(t)
	if _, err := os.Lstat(engine.SnapshotterSocket); err != nil {
		t.Error(err)
	}
	n.Snapshotter.Again(t)
	n.ctr(t, "images", "rm", "--sync", threeLayerImage)
	waitFor(t, engine.CheckNoSnapshotterLayers)
}

// checkDialled returns an error until a client has dialled the socket: the kernel then
// lists a second socket of that name.
func checkDialled() error {
	table, err := os.ReadFile("/proc/net/unix")
	if n := strings.Count(string(table), " "+engine.SnapshotterSocket+"\n"); err == nil && n < 2 {
		err = fmt.Errorf("%d sockets are called %s", n, engine.SnapshotterSocket)
	}
	return err
}

func openSystemdSocket(t *testing.T) *os.File {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: engine.SnapshotterSocket, Net: "unix"})
	must(t, err)
	l.SetUnlinkOnClose(false)
	f, err := l.File()
	must(t, err)
	must(t, l.Close())
	t.Cleanup(func() { must(t, f.Close()) })
	return f
}

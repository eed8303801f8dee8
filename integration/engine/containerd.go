package engine

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/inguest"
)

// Containerd is a containerd on the snapshotter, each a process, with the
// configurations under dist/. Those fix their paths, so that only one can run at a
// time.
type Containerd struct {
	ContainerdOptions
	Process
	Snapshotter *Snapshotter
	dir         string // sockets, state, logs
	outputs     atomic.Int64
}

// ContainerdOptions describe a containerd.
type ContainerdOptions struct {
	Root    string // containerd's root directory, made when missing
	Dataset string // of the layers; it must exist
	// Settings replace empty values in the snapshotter's configuration.
	Settings map[string]string
}

// StartContainerd starts the snapshotter and a containerd that uses it. The end of the
// test stops both and removes everything but the dataset and the root.
func StartContainerd(t testing.TB, o ContainerdOptions) *Containerd {
	t.Helper()
	dir, err := os.MkdirTemp("/run", "containerd-")
	if err == nil {
		err = os.Chmod(dir, 0o711) // root of a user name space needs to pass
	}
	if err != nil {
		t.Fatal(err)
	}
	c := &Containerd{ContainerdOptions: o, dir: dir, Snapshotter: newSnapshotter(t, dir, o)}
	c.setCommand(Dist(t, "containerd/config.toml"))
	t.Cleanup(func() { c.clear(t) })
	c.Snapshotter.Again(t)
	c.Again(t)
	return c
}

// Again starts containerd once more, after Stop or Kill.
func (c *Containerd) Again(t testing.TB) {
	t.Helper()
	if err := c.start(func() error { return CheckHealth(c.Address()) }); err != nil {
		t.Fatalf("%v\n%s", err, c.tail())
	}
}

// Stop asks containerd to end and waits for it. Containers keep running.
func (c *Containerd) Stop(t testing.TB) {
	t.Helper()
	if err := c.end(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
}

// Kill ends containerd as a crash would.
func (c *Containerd) Kill(t testing.TB) {
	t.Helper()
	if err := c.end(syscall.SIGKILL); err != nil {
		t.Error(err)
	}
}

// Address is containerd's socket.
func (c *Containerd) Address() string { return filepath.Join(c.dir, "containerd.sock") }

// Ctr runs containerd's command ctr in a name space and returns its output.
func (c *Containerd) Ctr(t testing.TB, namespace string, args ...string) string {
	t.Helper()
	out, err := c.Try(namespace, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Try is Ctr for a command that may fail.
func (c *Containerd) Try(namespace string, args ...string) (string, error) {
	args, output := c.logToFile(args)
	out, err := c.Command(namespace, args...).CombinedOutput()
	if output != "" {
		of, readErr := os.ReadFile(output)
		os.Remove(output)
		if readErr != nil && err == nil {
			err = readErr
		}
		out = append(out, of...)
	}
	if err != nil {
		err = fmt.Errorf("ctr %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), err
}

// logToFile adds to a command that shows what a process in a container prints the
// flag that has it written to a file, and names that. ctr loses the end of the output
// when the process ends before ctr has read it (containerd pull request #13931);
// containerd's shim waits for the file.
func (c *Containerd) logToFile(args []string) ([]string, string) {
	verb := 1
	switch {
	case slices.Contains(args, "--detach"):
		return args, ""
	case args[0] == "run":
	case len(args) > 1 && args[0] == "tasks" && args[1] == "exec":
		verb = 2
	default:
		return args, ""
	}
	file := filepath.Join(c.dir, "output-"+strconv.FormatInt(c.outputs.Add(1), 10))
	return slices.Insert(slices.Clone(args), verb, "--log-uri", "file://"+file), file
}

// Command returns a ctr command for the caller to run.
func (c *Containerd) Command(namespace string, args ...string) *exec.Cmd {
	return exec.Command("ctr", append([]string{"--address", c.Address(), "--namespace", namespace}, args...)...)
}

// StartEngine starts a dockerd with the containerd image store on this
// containerd, with the daemon.json under dist/.
func (c *Containerd) StartEngine(t testing.TB, root string) *Engine {
	t.Helper()
	return Start(t, Options{
		Root: root, Driver: SnapshotterName, ConfigFile: Dist(t, "docker/daemon.json"), Containerd: c.Address(),
	})
}

// clear stops both. The store's mount survives the snapshotter, because containers use
// it; here there are none.
func (c *Containerd) clear(t testing.TB) {
	c.Stop(t)
	c.Snapshotter.Stop(t)
	if t.Failed() {
		t.Logf("the end of containerd's log:\n%s", c.tail())
		t.Logf("the end of the snapshotter's log:\n%s", c.Snapshotter.tail())
	}
	inguest.Run(t, "umount", SnapshotterHome)
	for _, dir := range []string{c.dir, SnapshotterHome, filepath.Dir(SnapshotterSocket)} {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	}
}

//go:build vm

package e2e

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/treecmp"
)

// nest is a containerd with the snapshotter beside it, each a process of its own.
type nest struct {
	dir         string // state, sockets, logs
	root        string // containerd's
	home        string // of the store
	dataset     string
	snapshotter *process
	containerd  *process
}

// process is a program that a test starts and ends.
type process struct {
	args []string
	log  string
	cmd  *exec.Cmd
	done chan error
}

func (p *process) start(t testing.TB) {
	t.Helper()
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(t, err)
	defer out.Close()
	p.cmd = exec.Command(p.args[0], p.args[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	must(t, p.cmd.Start())
	p.done = make(chan error, 1)
	go func() { p.done <- p.cmd.Wait() }()
}

// end sends a signal and waits for the process.
func (p *process) end(t testing.TB, s os.Signal) {
	t.Helper()
	if p.cmd == nil {
		return
	}
	must(t, p.cmd.Process.Signal(s))
	err := <-p.done
	p.cmd = nil
	if err != nil && s == syscall.SIGTERM {
		t.Errorf("%s: %v", p.args[0], err)
	}
}

// newNest starts both. It needs the snapshotter's program.
func newNest(t testing.TB, name string) *nest {
	t.Helper()
	program := os.Getenv("OVERLAYZFS_SNAPSHOTTER")
	if program == "" {
		t.Fatal("OVERLAYZFS_SNAPSHOTTER does not name the snapshotter's program")
	}
	dir, err := os.MkdirTemp("/run", "nest-")
	must(t, err)
	root, err := os.MkdirTemp("/var/lib", "nest-")
	must(t, err)
	n := &nest{dir: dir, root: filepath.Join(root, "containerd"), home: filepath.Join(root, "layers"), dataset: "tank/" + name}
	command(t, "zfs", "create", "-o", "mountpoint=legacy", n.dataset)
	n.snapshotter = &process{log: filepath.Join(dir, "snapshotter.log"), args: []string{
		program, "--config=/dev/null", "--socket", filepath.Join(dir, "snapshotter.sock"), "--root", n.home, "--dataset", n.dataset, "--log-level=debug",
	}}
	n.containerd = &process{log: filepath.Join(dir, "containerd.log"), args: []string{"containerd", "--config", n.configure(t)}}
	t.Cleanup(func() { n.clear(t, root) })
	n.startSnapshotter(t)
	n.containerd.start(t)
	eventually(t, func() error { _, err := n.try("version"); return err })
	return n
}

func (n *nest) configure(t testing.TB) string {
	t.Helper()
	path := filepath.Join(n.dir, "config.toml")
	text := fmt.Sprintf(`version = 2
root = %q
state = %q
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = %q
[proxy_plugins.overlayzfs]
  type = "snapshot"
  address = %q
`, n.root, filepath.Join(n.dir, "state"), n.address(), filepath.Join(n.dir, "snapshotter.sock"))
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func (n *nest) address() string { return filepath.Join(n.dir, "containerd.sock") }

func (n *nest) startSnapshotter(t testing.TB) {
	t.Helper()
	n.snapshotter.start(t)
	eventually(t, func() error {
		conn, err := net.Dial("unix", filepath.Join(n.dir, "snapshotter.sock"))
		if err == nil {
			err = conn.Close()
		}
		return err
	})
}

// clear ends both and leaves nothing.
func (n *nest) clear(t testing.TB, root string) {
	if t.Failed() {
		for _, p := range []*process{n.snapshotter, n.containerd} {
			out, err := exec.Command("tail", "-n", "40", p.log).CombinedOutput()
			t.Logf("%s: %v\n%s", p.log, err, out)
		}
	}
	n.containerd.end(t, syscall.SIGTERM)
	n.snapshotter.end(t, syscall.SIGTERM)
	for _, m := range mountTable(t, "self") {
		if m.place == n.home {
			command(t, "umount", n.home)
		}
	}
	command(t, "zfs", "destroy", "-r", n.dataset)
	must(t, errors.Join(os.RemoveAll(n.dir), os.RemoveAll(root)))
}

// ctr runs containerd's command line.
func (n *nest) ctr(t testing.TB, args ...string) string {
	t.Helper()
	out, err := n.try(args...)
	if err != nil {
		t.Fatalf("ctr %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (n *nest) try(args ...string) (string, error) {
	out, err := n.command(args...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (n *nest) command(args ...string) *exec.Cmd {
	return exec.Command("ctr", append([]string{"--address", n.address(), "--namespace", "lab"}, args...)...)
}

// tree is the image as a snapshotter shows it.
func (n *nest) tree(t testing.TB, snapshotter, image string) *treecmp.Tree {
	t.Helper()
	dir := filepath.Join(n.dir, "view-"+snapshotter)
	must(t, os.Mkdir(dir, 0o700))
	n.ctr(t, "images", "mount", "--snapshotter", snapshotter, image, dir)
	tree, err := treecmp.FromDir(dir)
	n.ctr(t, "images", "unmount", "--rm", "--snapshotter", snapshotter, dir)
	must(t, errors.Join(err, os.Remove(dir)))
	return tree
}

// entry is a member of a layer tar made here.
type entry struct {
	header tar.Header
	body   string
}

// layerOf is a layer tar.
func layerOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var raw bytes.Buffer
	w := tar.NewWriter(&raw)
	for _, e := range entries {
		e.header.Size = int64(len(e.body))
		must(t, w.WriteHeader(&e.header))
		_, err := io.WriteString(w, e.body)
		must(t, err)
	}
	must(t, w.Close())
	return raw.Bytes()
}

// archiveOf writes an image of these layers as `docker save` does.
func archiveOf(t testing.TB, name string, layers ...[]byte) string {
	t.Helper()
	var diffIDs, names []string
	for i, layer := range layers {
		diffIDs = append(diffIDs, fmt.Sprintf("sha256:%x", sha256.Sum256(layer)))
		names = append(names, fmt.Sprintf("%d/layer.tar", i))
	}
	config, err := json.Marshal(map[string]any{
		"architecture": "amd64", "os": "linux", "config": map[string]any{"Env": []string{"PATH=/usr/bin:/bin"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs},
	})
	must(t, err)
	manifest, err := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{name}, "Layers": names}})
	must(t, err)
	path := filepath.Join(t.TempDir(), "image.tar")
	f, err := os.Create(path)
	must(t, err)
	w := tar.NewWriter(f)
	put := func(name string, body []byte) {
		must(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(body))}))
		_, err := w.Write(body)
		must(t, err)
	}
	for i, layer := range layers {
		put(names[i], layer)
	}
	put("config.json", config)
	put("manifest.json", manifest)
	must(t, errors.Join(w.Close(), f.Close()))
	return path
}

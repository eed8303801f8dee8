//go:build vm

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	digest "github.com/opencontainers/go-digest"
	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/operator/inventory"
	"github.com/overlayzfs/overlayzfs/plugin"
)

// recordContainer writes Docker's records of a container with a writable layer.
func (s testStore) recordContainer(name, layer string) {
	s.Helper()
	files := map[string]string{
		"containers/" + layer + "/config.v2.json": fmt.Sprintf(`{"State":{"Running":false},"ID":%q,"Name":"/%s","Driver":"overlayzfs","Image":%q}`, layer, name, digest.FromString("image")),
	}
	mount := "image/overlayzfs/layerdb/mounts/" + layer + "/"
	files[mount+"mount-id"], files[mount+"init-id"], files[mount+"parent"] = layer, layer+"-init", string(digest.FromString("4"))
	for file, content := range files {
		path := filepath.Join(s.root, file)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), 0o600)); err != nil {
			s.Fatal(err)
		}
	}
}

// limit runs the command on a container and returns its output.
func (s testStore) limit(code int, args ...string) string {
	s.Helper()
	return runCommand(s.T, code, "", append([]string{"limit", "--dataset", s.dataset, "--root", s.root}, args...)...)
}

// requireLimit requires the limit that ls shows of a layer.
func (s testStore) requireLimit(layer string, want inventory.Limit) {
	s.Helper()
	var inv inventory.Inventory
	out := runCommand(s.T, 0, "", "ls", "--quick", "--json", "--dataset", s.dataset, "--root", s.root)
	// Warnings come before the JSON.
	if err := json.Unmarshal([]byte(out[strings.Index(out, "{"):]), &inv); err != nil {
		s.Fatal(err)
	}
	for _, l := range inv.Layers {
		if l.ID != layer {
			continue
		}
		if l.Limit == nil || l.Limit.Bytes != want.Bytes || l.Limit.Inodes != want.Inodes {
			s.Errorf("the limit of layer %s is %+v, want %+v", layer, l.Limit, want)
		}
		return
	}
	s.Errorf("no layer %s", layer)
}

// TestLimit changes limits of containers: with nobody at the store, and beside a plugin that has
// it open, of a stopped and of a running container.
func TestLimit(t *testing.T) {
	s := newTestStore(t)
	s.recordContainer("web", id("4"))
	s.recordContainer("limited", id("3"))
	if out := s.limit(0, "web", "--size", "20M", "--dry-run"); out != "Would set web: at most 20MiB\n" {
		t.Errorf("%s", out)
	}
	if out := s.limit(0, "web", "--size", "20M", "--inodes", "1000"); out != "web: at most 20MiB, at most 1000 files\n" {
		t.Errorf("%s", out)
	}
	s.requireLimit(id("4"), inventory.Limit{Bytes: 20 << 20, Inodes: 1000})
	if out := s.limit(0, "limited", "--none", "--json"); !strings.Contains(out, `"bytes": 0`) || !strings.Contains(out, id("3")) {
		t.Errorf("%s", out)
	}
	s.requireLimit(id("3"), inventory.Limit{})
	s.limit(exitFailed, "nobody", "--none")

	r := servePlugin(t, s)
	var mounted struct{ Dir string }
	r.call("GraphDriver.Get", map[string]any{"ID": id("4")}, &mounted)
	if err := os.WriteFile(filepath.Join(mounted.Dir, "file"), bytes.Repeat([]byte("x"), 100), 0o600); err != nil {
		t.Fatal(err)
	}
	s.limit(0, "web", "--size", "30M") // it is mounted, as a running container's is
	s.requireLimit(id("4"), inventory.Limit{Bytes: 30 << 20, Inodes: 1000})
	s.limit(0, "limited", "--size", "40M")
	s.requireLimit(id("3"), inventory.Limit{Bytes: 40 << 20})
	if err := os.WriteFile(filepath.Join(mounted.Dir, "big"), noise(t, 5<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("zpool", "sync", "tank").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out := s.limit(exitRefused, "web", "--size", "2M"); !strings.Contains(out, "delete files in the container first") || !strings.Contains(out, "nothing was changed") {
		t.Errorf("a limit below what is there: %s", out)
	}
	r.call("GraphDriver.Put", map[string]any{"ID": id("4")}, &struct{}{})
}

// noise returns bytes that do not compress.
func noise(t *testing.T, n int) []byte {
	t.Helper()
	raw := make([]byte, n)
	rand.Read(raw) // never fails
	return raw
}

// runningPlugin is a plugin at work on the socket where Docker would have it.
type runningPlugin struct {
	*testing.T
	client *http.Client
}

func servePlugin(t *testing.T, s testStore) runningPlugin {
	t.Helper()
	dir := filepath.Join("/run/docker/plugins", id("a"))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "overlayzfs.sock")
	l, err := plugin.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- plugin.NewServer(plugin.StoreOpener(nil, nil), "", log).Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	dial := func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", socket) }
	r := runningPlugin{t, &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
	r.call("GraphDriver.Init", plugin.InitParams{Home: s.home, Opts: []string{"overlayzfs.dataset=" + s.dataset}}, &struct{}{})
	return r
}

// call makes a call, which has to succeed.
func (r runningPlugin) call(name string, request, answer any) {
	r.Helper()
	body, err := json.Marshal(request)
	if err != nil {
		r.Fatal(err)
	}
	response, err := r.client.Post("http://plugin/"+name, "", bytes.NewReader(body))
	if err != nil {
		r.Fatal(err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil || bytes.Contains(raw, []byte(`"Err"`)) {
		r.Fatalf("%s: %s, %v", name, raw, err)
	}
	if err := json.Unmarshal(raw, answer); err != nil {
		r.Fatal(err)
	}
}

package dockerd

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/pluginimage"
)

// startServer serves a socket as dockerd does, and returns a client of it.
func startServer(t *testing.T, answer http.HandlerFunc) *Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "docker.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: answer}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	c, err := Connect("unix://" + path)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestInfo asks a server that answers as dockerd does. integration/e2e asks a real one.
func TestInfo(t *testing.T) {
	answers := map[string]string{
		"/version":         `{"Version":"26.1.5","ApiVersion":"1.45"}`,
		"/info":            `{"Driver":"overlayzfs","DockerRootDir":"/srv","Containerd":{"Address":"/run/c.sock"},"ContainersRunning":2,"LiveRestoreEnabled":true}`,
		"/containers/json": `[{"Id":"a"},{"Id":"b"}]`,
	}
	c := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		answer, ok := answers[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = w.Write([]byte(answer))
	})
	if got, err := c.Info(t.Context()); err != nil || got != (Info{"26.1.5", "overlayzfs", "/srv", "/run/c.sock", 2, true}) {
		t.Errorf("%+v, %v", got, err)
	}
	if n, err := c.CountRunning(t.Context()); err != nil || n != 2 {
		t.Errorf("%d containers, %v", n, err)
	}
	delete(answers, "/info")
	if _, err := c.Info(t.Context()); !errors.Is(err, fault.NotFound) {
		t.Errorf("half an answer: %v", err)
	}
	if _, err := Connect("tcp://localhost:1"); err == nil {
		t.Error("another machine is taken for this one")
	}
	gone, err := Connect("unix:///nowhere/docker.sock")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gone.Info(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no socket: %v", err)
	}
}

// TestErrorsAreDockerds come as an answer's status, or at the end of a stream.
func TestErrorsAreDockerds(t *testing.T) {
	c := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/enable"):
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = w.Write([]byte(`{"message":"it is in use"}`))
		case strings.HasSuffix(r.URL.Path, "/json"):
			_, _ = w.Write([]byte(`{"Name": "x", "Enabled": ` + strconv.FormatBool(strings.Contains(r.URL.Path, "/x/")) + `}`))
		default:
			_, _ = w.Write([]byte(`{"status":"Pulling"}` + "\n" + `{"errorDetail":{"message":"no"},"error":"no space"}`))
		}
	})
	if err := c.EnablePlugin(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), "it is in use") {
		t.Errorf("%v", err)
	}
	if err := c.DisablePlugin(t.Context(), "x", true); err == nil || !strings.Contains(err.Error(), "no space") {
		t.Errorf("%v", err)
	}
	if err := c.DisablePlugin(t.Context(), "disabled", true); err != nil {
		t.Errorf("a plugin that is disabled: %v", err)
	}
}

// makePlugin makes a plugin's directory.
func makePlugin(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"description": "d (v2, commit x)", "entrypoint": ["/p"]}`), 0o600),
		os.Mkdir(filepath.Join(dir, "rootfs"), 0o755),
		os.WriteFile(filepath.Join(dir, "rootfs/p"), []byte("program"), 0o755),
	); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestCreatePlugin sends the directory as a tar.
func TestCreatePlugin(t *testing.T) {
	var names []string
	c := startServer(t, func(_ http.ResponseWriter, r *http.Request) {
		names = append(names, r.URL.String())
		archive := tar.NewReader(r.Body)
		for header, err := archive.Next(); err == nil; header, err = archive.Next() {
			names = append(names, header.Name)
		}
	})
	dir := makePlugin(t)
	if err := c.CreatePlugin(t.Context(), "overlayzfs", dir); err != nil || !slices.Equal(names, []string{"/plugins/create?name=overlayzfs", "config.json", "rootfs/", "rootfs/p"}) {
		t.Errorf("%q, %v", names, err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "rootfs/link")); err != nil {
		t.Fatal(err)
	}
	if err := c.CreatePlugin(t.Context(), "overlayzfs", dir); err == nil || !strings.Contains(err.Error(), "rootfs/link") {
		t.Errorf("a link: %v", err)
	}
}

// TestUpgradePlugin has dockerd pull from a registry that ends with the call.
func TestUpgradePlugin(t *testing.T) {
	var reference string
	var pulled []string
	c := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		reference = r.URL.Query().Get("remote")
		if r.URL.Path == "/plugins/privileges" {
			_, _ = w.Write([]byte(`[{"Name":"device"}]`))
			return
		}
		privileges, _ := io.ReadAll(r.Body)
		pulled = append(pulled, r.URL.Path, string(privileges))
		pulled = append(pulled, pull(t, reference)...)
	})
	if err := c.UpgradePlugin(t.Context(), "overlayzfs:latest", makePlugin(t)); err != nil {
		t.Fatal(err)
	}
	want := []string{"/plugins/overlayzfs:latest/upgrade", `[{"Name":"device"}]`, pluginimage.ConfigType, "d (v2, commit x)", pluginimage.LayerType}
	if !slices.Equal(pulled, want) {
		t.Errorf("%q, want %q", pulled, want)
	}
	if response, err := http.Get("http://" + strings.TrimSuffix(reference, "/overlayzfs:upgrade") + "/v2/"); err == nil {
		response.Body.Close()
		t.Error("the registry still answers")
	}
}

// pull reads a manifest and its configuration as a client of a registry does.
func pull(t *testing.T, reference string) []string {
	address, _ := strings.CutSuffix(reference, "/overlayzfs:upgrade")
	fetch := func(path string) []byte {
		answer, err := http.Get("http://" + address + "/v2/overlayzfs/" + path)
		if err != nil {
			t.Error(err)
			return nil
		}
		defer answer.Body.Close()
		raw, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Errorf("%s: %s, %v", path, answer.Status, err)
		}
		return raw
	}
	var manifest struct {
		Config ocispec.Descriptor
		Layers []ocispec.Descriptor
	}
	var config struct {
		Description string
		Rootfs      struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}
	if err := errors.Join(json.Unmarshal(fetch("manifests/upgrade"), &manifest), json.Unmarshal(fetch("blobs/"+manifest.Config.Digest.String()), &config)); err != nil || len(config.Rootfs.DiffIDs) != 1 {
		t.Errorf("%+v, %v", config, err)
	}
	if n := int64(len(fetch("blobs/" + manifest.Layers[0].Digest.String()))); n != manifest.Layers[0].Size {
		t.Errorf("the layer has %d bytes, not %d", n, manifest.Layers[0].Size)
	}
	return []string{manifest.Config.MediaType, config.Description, manifest.Layers[0].MediaType}
}

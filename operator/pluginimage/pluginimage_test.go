package pluginimage

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// makePlugin makes a plugin's directory, as old as the time.
func makePlugin(t *testing.T, when time.Time) string {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "rootfs", "bin", "program")
	err := errors.Join(os.MkdirAll(filepath.Dir(program), 0o755), os.WriteFile(program, []byte("a program"), 0o755),
		os.WriteFile(filepath.Join(dir, configName), []byte(`{"description": "a plugin", "network": {"type": "host"}, "number": 7}`), 0o644),
		os.Chtimes(program, when, when))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestReadMakesWhatDockerPushes(t *testing.T) {
	i, err := Read(makePlugin(t, time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	var manifest ocispec.Manifest
	if err := json.Unmarshal(i.Blobs[i.Manifest.Digest], &manifest); err != nil {
		t.Fatal(err)
	}
	if manifest.MediaType != manifestType || manifest.Config.MediaType != ConfigType || len(manifest.Layers) != 1 || manifest.Layers[0].MediaType != LayerType {
		t.Errorf("%+v", manifest)
	}
	var config struct {
		Description string
		Number      int
		Rootfs      struct {
			Type    string
			DiffIDs []string `json:"diff_ids"`
		}
	}
	if err := json.Unmarshal(i.Blobs[manifest.Config.Digest], &config); err != nil {
		t.Fatal(err)
	}
	if config.Description != "a plugin" || config.Number != 7 || config.Rootfs.Type != "layers" || len(config.Rootfs.DiffIDs) != 1 {
		t.Errorf("%+v", config)
	}
	plain, err := gzip.NewReader(bytes.NewReader(i.Blobs[manifest.Layers[0].Digest]))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	layer := tar.NewReader(plain)
	for {
		h, err := layer.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		if h.Uid != 0 || h.Gid != 0 || h.Mode != 0o755 {
			t.Errorf("%+v", h)
		}
	}
	if want := []string{"bin/", "bin/program"}; !slices.Equal(names, want) {
		t.Errorf("the layer holds %q, want %q", names, want)
	}
}

func TestTheSamePluginMakesTheSameLayout(t *testing.T) {
	var made [2]bytes.Buffer
	for n := range made {
		i, err := Read(makePlugin(t, time.Unix(int64(n)*1000, 0)))
		if err != nil {
			t.Fatal(err)
		}
		if err := i.WriteLayout(&made[n]); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(made[0].Bytes(), made[1].Bytes()) {
		t.Error("two layouts of the same files differ")
	}
}

// TestALayoutHoldsTheImage reads a layout as a push does.
func TestALayoutHoldsTheImage(t *testing.T) {
	i, err := Read(makePlugin(t, time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "layout.tar")
	var layout bytes.Buffer
	if err := errors.Join(i.WriteLayout(&layout), os.WriteFile(path, layout.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	stored, err := OpenLayout(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	var blobs []ocispec.Descriptor
	for name, from := range map[string]Source{"layout": stored, "directory": i.Source()} {
		root, err := from.Resolve(t.Context(), layoutTag)
		if err != nil || root.Digest != i.Manifest.Digest {
			t.Fatalf("%s: %+v, %v", name, root, err)
		}
		parts, err := content.Successors(t.Context(), from, root)
		if err != nil || len(parts) != 2 {
			t.Fatalf("%s: %+v, %v", name, parts, err)
		}
		blobs = append(parts, root)
		for _, d := range blobs {
			if blob, err := content.FetchAll(t.Context(), from, d); err != nil || !bytes.Equal(blob, i.Blobs[d.Digest]) {
				t.Errorf("%s: %s: %v", name, d.MediaType, err)
			}
		}
	}
	if err := os.Truncate(path, int64(layout.Len()/2)); err != nil {
		t.Fatal(err)
	}
	half, err := OpenLayout(t.Context(), path)
	for _, blob := range blobs {
		if err == nil {
			_, err = content.FetchAll(t.Context(), half, blob)
		}
	}
	if err == nil {
		t.Error("half of a layout has all of it")
	}
	if _, err := OpenLayout(t.Context(), path+"-none"); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("no layout: %v", err)
	}
}

func TestParseReference(t *testing.T) {
	for text, want := range map[string]string{
		"docker.io/user/overlayzfs":         "docker.io/user/overlayzfs:latest",
		"localhost:5000/overlayzfs:1.0-rc1": "localhost:5000/overlayzfs:1.0-rc1",
		"overlayzfs":                        "", "overlayzfs:1": "", "": "", "host/": "", "host/UPPER:1": "", "host/name:": "", "host/name:a b": "",
		"host/name@sha256:" + strings.Repeat("0", 64): "",
	} {
		got, err := ParseReference(text)
		if got != want || (want == "") != errors.Is(err, fault.Invalid) {
			t.Errorf("%q is %q, %v; want %q", text, got, err, want)
		}
	}
}

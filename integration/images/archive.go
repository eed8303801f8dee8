package images

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/inguest"
)

// Entry is a member of a layer tar made here.
type Entry struct {
	Header tar.Header
	Body   string
}

// Layer is a layer tar.
func Layer(t testing.TB, entries ...Entry) []byte {
	t.Helper()
	var raw bytes.Buffer
	w := tar.NewWriter(&raw)
	for _, e := range entries {
		e.Header.Size = int64(len(e.Body))
		inguest.Must(t, w.WriteHeader(&e.Header))
		_, err := io.WriteString(w, e.Body)
		inguest.Must(t, err)
	}
	inguest.Must(t, w.Close())
	return raw.Bytes()
}

// Archive writes an image of these layers as `docker save` does, and returns
// its path. command is what a container of it runs.
func Archive(t testing.TB, name string, command []string, layers ...[]byte) string {
	t.Helper()
	var diffIDs, names []string
	for i, layer := range layers {
		diffIDs = append(diffIDs, fmt.Sprintf("sha256:%x", sha256.Sum256(layer)))
		names = append(names, fmt.Sprintf("%d/layer.tar", i))
	}
	config, err := json.Marshal(map[string]any{
		"architecture": "amd64", "os": "linux", "config": map[string]any{"Env": []string{"PATH=/usr/bin:/bin"}, "Cmd": command},
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs},
	})
	inguest.Must(t, err)
	manifest, err := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{name}, "Layers": names}})
	inguest.Must(t, err)
	path := filepath.Join(t.TempDir(), "image.tar")
	f, err := os.Create(path)
	inguest.Must(t, err)
	w := tar.NewWriter(f)
	put := func(name string, body []byte) {
		inguest.Must(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(body))}))
		_, err := w.Write(body)
		inguest.Must(t, err)
	}
	for i, layer := range layers {
		put(names[i], layer)
	}
	put("config.json", config)
	put("manifest.json", manifest)
	inguest.Must(t, errors.Join(w.Close(), f.Close()))
	return path
}

package images

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/engine"
	"github.com/overlayzfs/overlayzfs/integration/inguest"
	"github.com/overlayzfs/overlayzfs/integration/treecmp"
)

// Save has an engine save an image into dir, and opens the archive. It fails when
// a layer differs from its recorded digest.
func Save(e *engine.Engine, dir, image string) (saved *treecmp.Image, path string, err error) {
	name := strings.NewReplacer(":", "-", "/", "-").Replace(image)
	path = filepath.Join(dir, fmt.Sprintf("%s-%s.tar", e.Driver, name))
	if err := saveImage(e, image, path); err != nil {
		return nil, "", err
	}
	if saved, err = treecmp.OpenImage(path); err != nil {
		return nil, "", err
	}
	if err := saved.Verify(); err != nil {
		return nil, "", errors.Join(fmt.Errorf("image %s of driver %s: %w", image, e.Driver, err), saved.Close())
	}
	return saved, path, nil
}

// saveImage saves an image as a file.
func saveImage(e *engine.Engine, image, path string) error {
	archive, err := e.Get(context.Background(), "/images/"+image+"/get")
	if err != nil {
		return err
	}
	defer archive.Close()
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, archive)
	return errors.Join(err, f.Close())
}

// WriteArchive writes an image of these layers in the format of `docker save`, and
// returns its path. Containers of the image run command.
func WriteArchive(t testing.TB, name string, command []string, layers ...[]byte) string {
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

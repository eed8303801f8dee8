package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// aDataRoot makes a data-root with Docker's records of an image without layers and of a container.
func aDataRoot(t *testing.T) string {
	t.Helper()
	const config = `{"os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`
	image := fmt.Sprintf("%x", sha256.Sum256([]byte(config)))
	root := t.TempDir()
	for name, content := range map[string]string{
		"image/overlayzfs/imagedb/content/sha256/" + image: config,
		"image/overlayzfs/repositories.json":               fmt.Sprintf(`{"Repositories":{"web":{"web:1":"sha256:%s"},"other":{"other:2":"sha256:%s"}}}`, image, image),
		"containers/" + id("4") + "/config.v2.json":        fmt.Sprintf(`{"ID":%q,"Name":"/front","Driver":"overlayzfs","State":{}}`, id("4")),
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// TestCompletion offers names that Docker knows, values of flags, and files only where a
// command takes one.
func TestCompletion(t *testing.T) {
	here := []string{"--dataset", "tank/none", "--root", aDataRoot(t)}
	const noFiles, files, directories = ":4", ":0", ":16"
	for _, tt := range []struct {
		args      string
		offered   []string
		directive string
	}{
		{"inspect", []string{"front\tcontainer", "other:2\timage", "web:1\timage"}, noFiles},
		{"inspect front", nil, noFiles},
		{"verify front web:1", []string{"other:2\timage"}, noFiles},
		{"rollback", nil, noFiles}, // there is no such dataset
		{"ls", nil, noFiles},
		{"setup", nil, noFiles},
		{"setup --way", []string{"plugin", "snapshotter"}, noFiles},
		{"setup --sync", []string{"disabled", "standard"}, noFiles},
		{"migrate --from", []string{"btrfs", "overlay2", "vfs", "zfs"}, noFiles},
		{"send --from", []string{"last"}, noFiles},
		{"snapshots --columns", []string{"datasets", "event", "kept-by", "name", "scope", "time", "used"}, noFiles},
		{"ls --dataset", nil, noFiles},
		{"send --output", nil, files},
		{"migrate --config-file", nil, files},
		{"gc --root", nil, directories},
	} {
		var out, errs bytes.Buffer
		c := testConsole(t, &out)
		c.err = &errs
		args := append(slices.Concat([]string{"__complete"}, strings.Fields(tt.args)[:1], here, strings.Fields(tt.args)[1:]), "")
		if code := run(t.Context(), args, c); code != 0 {
			t.Errorf("%s exits with %d: %s", tt.args, code, &errs)
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		offered, directive := lines[:len(lines)-1], lines[len(lines)-1]
		slices.Sort(offered)
		if !slices.Equal(offered, tt.offered) || directive != tt.directive {
			t.Errorf("%s: %q, %s", tt.args, offered, directive)
		}
	}
}

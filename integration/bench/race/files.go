package race

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/overlayzfs/overlayzfs/integration/bench/layers"
)

// initFiles writes what dockerd puts below every container.
func initFiles(dir string) error {
	for _, name := range []string{"dev/console", "etc/hosts", "etc/hostname", "etc/resolv.conf"} {
		if err := writeFile(filepath.Join(dir, name), 0); err != nil {
			return err
		}
	}
	return nil
}

// writeFile writes a new file of size bytes, and its directories.
func writeFile(name string, size int) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, bytes.Repeat([]byte("overlayzfs races"), size/16), 0o644)
}

// replaceFiles changes files of a layer's image, and adds some when it has not
// so many. It does so as package managers do, by renaming a new file over the
// old one: overlayfs copies nothing up.
func replaceFiles(dir string, image layers.Shape, from, to int) error {
	for n := from; n < to; n++ {
		name := filepath.Join(dir, image.FilePath(n%image.Files))
		if n >= image.Files {
			name += fmt.Sprintf(".%d", n)
		}
		if err := writeFile(name+".new", 256); err != nil {
			return err
		}
		if err := os.Rename(name+".new", name); err != nil {
			return err
		}
	}
	return nil
}

// openForWriting opens files for writing, which is what copies them up.
func openForWriting(names ...string) error {
	for _, name := range names {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// firstFiles are paths of files of a tree that are not small and come to about
// total bytes.
func firstFiles(dir string, total int64) (names []string, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil || info.Size() < 64<<10 {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		names = append(names, rel)
		if total -= info.Size(); total <= 0 {
			return fs.SkipAll // compared, not unwrapped: errors.Join would hide it
		}
		return err
	})
	return names, err
}

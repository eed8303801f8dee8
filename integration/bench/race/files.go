package race

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/overlayzfs/overlayzfs/integration/bench/layers"
)

// initFiles writes the files that dockerd puts into every container's init layer.
func initFiles(dir string) error {
	for _, name := range []string{"dev/console", "etc/hosts", "etc/hostname", "etc/resolv.conf"} {
		if err := writeFile(filepath.Join(dir, name), 0); err != nil {
			return err
		}
	}
	return nil
}

// writeFile writes a new file of size bytes, with its directories.
func writeFile(name string, size int) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, bytes.Repeat([]byte("overlayzfs races"), size/16), 0o644)
}

// replaceFiles changes files of a layer's image, and adds files when it has too few.
// Like a package manager, it renames a new file over the old one, so that overlayfs
// copies nothing up.
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

// openForWriting opens files for writing, which copies them up.
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

// firstFiles lists large files of a tree, of about total bytes together.
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
			return fs.SkipAll // WalkDir compares it: errors.Join would hide it
		}
		return err
	})
	return names, err
}

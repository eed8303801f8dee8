package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// tree holds files by their relative paths. Directories are implied.
type tree struct{ files map[string]file }

type file struct {
	mode fs.FileMode
	data []byte
	link string // target of a symbolic link
}

func newTree() *tree { return &tree{map[string]file{}} }

func (t *tree) add(path string, mode fs.FileMode, data []byte) {
	t.files[path] = file{mode: mode, data: data}
}

func (t *tree) addSymlink(path, target string) { t.files[path] = file{link: target} }

// addFile adds a file from the disk.
func (t *tree) addFile(path string, mode fs.FileMode, from string) error {
	data, err := os.ReadFile(from)
	t.add(path, mode, data)
	return err
}

// addDir adds all files below a directory, with mode 0644.
func (t *tree) addDir(prefix, dir string) error {
	return filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		return t.addFile(path.Join(prefix, filepath.ToSlash(rel)), 0o644, name)
	})
}

// addTree adds the files of another tree below the directory prefix.
func (t *tree) addTree(prefix string, other *tree) {
	for name, f := range other.files {
		t.files[path.Join(prefix, name)] = f
	}
}

// paths returns the paths of all files, sorted.
func (t *tree) paths() []string { return slices.Sorted(maps.Keys(t.files)) }

// dirs returns the directories of all files, parents before children.
func (t *tree) dirs() []string {
	all := map[string]bool{}
	for name := range t.files {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			all[dir] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// writeDir writes the tree's files into a new directory. It has no links.
func (t *tree) writeDir(dir string) error {
	for _, name := range t.paths() {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, t.files[name].data, t.files[name].mode); err != nil {
			return err
		}
	}
	return nil
}

// writeTar writes the tree as a tar of root's files, all with the time when.
func (t *tree) writeTar(w io.Writer, prefix string, when time.Time) error {
	out := tar.NewWriter(w)
	for _, dir := range t.dirs() {
		if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: prefix + dir + "/", Mode: 0o755, ModTime: when, Format: tar.FormatUSTAR}); err != nil {
			return err
		}
	}
	for _, name := range t.paths() {
		if err := writeEntry(out, prefix+name, t.files[name], when); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return out.Close()
}

func writeEntry(out *tar.Writer, name string, f file, when time.Time) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: int64(f.mode), Size: int64(len(f.data)), ModTime: when, Format: tar.FormatUSTAR}
	if f.link != "" {
		h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, f.link, 0o777
	}
	if err := out.WriteHeader(h); err != nil {
		return err
	}
	_, err := out.Write(f.data)
	return err
}

// archive writes a tree as a compressed tar into the output.
func (r *release) archive(t *tree, name, prefix string) (err error) {
	f, err := os.Create(filepath.Join(r.out, name))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	z, err := gzip.NewWriterLevel(f, gzip.BestCompression)
	if err != nil {
		return err
	}
	return errors.Join(t.writeTar(z, prefix, r.time), z.Close())
}

// gzipBytes returns data as gzip -9n compresses it.
func gzipBytes(data []byte) ([]byte, error) {
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(data); err != nil {
		return nil, err
	}
	err = z.Close()
	return out.Bytes(), err
}

// replaceOnce replaces old by new. It fails unless data contains old exactly once.
func replaceOnce(data []byte, old, new string) ([]byte, error) {
	if n := strings.Count(string(data), old); n != 1 {
		return nil, fmt.Errorf("the text has %q %d times, want once", old, n)
	}
	return []byte(strings.Replace(string(data), old, new, 1)), nil
}

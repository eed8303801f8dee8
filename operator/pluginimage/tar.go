package pluginimage

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Describe returns the description in a plugin's directory.
func Describe(dir string) (string, error) {
	raw, err := os.ReadFile(filepath.Join(dir, configName))
	if err != nil {
		return "", err
	}
	var config struct{ Description string }
	if err := json.Unmarshal(raw, &config); err != nil {
		return "", fmt.Errorf("%s: %w", filepath.Join(dir, configName), err)
	}
	return config.Description, nil
}

// configName is the file with a plugin's configuration in its directory.
const configName = "config.json"

// WriteTar writes a directory as a tar, as root's files without times.
func WriteTar(w io.Writer, dir string) error {
	archive := tar.NewWriter(w)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		return addFile(archive, dir, path, entry)
	})
	return errors.Join(err, archive.Close())
}

func addFile(archive *tar.Writer, dir, path string, entry fs.DirEntry) error {
	info, err := entry.Info()
	if err != nil {
		return err
	}
	if !info.IsDir() && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is neither a file nor a directory, and a plugin of overlayzfs has nothing else", path)
	}
	name, err := filepath.Rel(dir, path)
	if err != nil {
		return err
	}
	header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: int64(info.Mode().Perm()), Size: info.Size()}
	if info.IsDir() {
		header = &tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: int64(info.Mode().Perm())}
	}
	if err := archive.WriteHeader(header); err != nil || info.IsDir() {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(archive, f)
	return errors.Join(err, f.Close())
}

package vm

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// readOuts unpacks what the guest hands back: below a directory N, or in a
// file N, is what belongs to outs[N].
func readOuts(r io.Reader, outs []Out) error {
	archive := tar.NewReader(r)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the files handed back: %w", err)
		}
		target, ok := outTarget(header.Name, outs)
		if !ok {
			continue
		}
		if err := writeOut(archive, header, target); err != nil {
			return fmt.Errorf("writing the files handed back: %w", err)
		}
	}
}

// outTarget maps a name in the archive to the host. Names that would leave the
// place they were asked for into are not for us.
func outTarget(name string, outs []Out) (string, bool) {
	name = strings.TrimPrefix(name, "./")
	first, below, _ := strings.Cut(name, "/")
	index, err := strconv.Atoi(first)
	if err != nil || index < 0 || index >= len(outs) {
		return "", false
	}
	if below == "" {
		return outs[index].Host, true
	}
	if !filepath.IsLocal(below) {
		return "", false
	}
	return filepath.Join(outs[index].Host, below), true
}

// writeOut writes one entry. Devices and the like stay in the guest.
func writeOut(r io.Reader, header *tar.Header, target string) error {
	mode := header.FileInfo().Mode().Perm()
	switch header.Typeflag {
	case tar.TypeDir:
		// The user has to be able to fill and to remove it.
		return os.MkdirAll(target, mode|0o700)
	case tar.TypeSymlink:
		_ = os.Remove(target)
		return os.Symlink(header.Linkname, target)
	case tar.TypeReg:
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		file, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode|0o600)
		if err != nil {
			return err
		}
		if _, err := io.Copy(file, r); err != nil {
			file.Close()
			return err
		}
		return file.Close()
	}
	return nil
}

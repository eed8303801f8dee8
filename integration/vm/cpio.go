package vm

import (
	"compress/gzip"
	"fmt"
	"io"
	"os"
)

// initramfsFile is one regular file of an initramfs.
type initramfsFile struct {
	path string
	data []byte
}

// writeInitramfs makes an initramfs of executable files.
func writeInitramfs(path string, files []initramfsFile) error {
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	defer out.Close()
	zip := gzip.NewWriter(out)
	if err := writeCpio(zip, files); err != nil {
		return err
	}
	if err := zip.Close(); err != nil {
		return err
	}
	return out.Close()
}

// writeCpio writes the "newc" format, the one the kernel unpacks. It has no
// directories but those of the files' paths, one level deep.
func writeCpio(w io.Writer, files []initramfsFile) error {
	const directory, regular = 0o040755, 0o100755
	entries := []struct {
		name string
		mode int
		data []byte
	}{{"bin", directory, nil}}
	for _, file := range files {
		entries = append(entries, struct {
			name string
			mode int
			data []byte
		}{file.path, regular, file.data})
	}
	entries = append(entries, struct {
		name string
		mode int
		data []byte
	}{"TRAILER!!!", 0, nil})

	for inode, entry := range entries {
		// magic, ino, mode, uid, gid, nlink, mtime, filesize, devmajor,
		// devminor, rdevmajor, rdevminor, namesize, check
		header := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
			inode+1, entry.mode, 0, 0, 1, 0, len(entry.data), 0, 0, 0, 0, len(entry.name)+1, 0, entry.name)
		if _, err := io.WriteString(w, padded(header)); err != nil {
			return err
		}
		if _, err := io.WriteString(w, padded(string(entry.data))); err != nil {
			return err
		}
	}
	return nil
}

// padded fills up to the format's alignment of four bytes.
func padded(text string) string {
	return text + "\x00\x00\x00"[:-len(text)&3]
}

package images

import (
	"archive/tar"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// FindBusybox returns the path of busybox, a program that runs in any image.
func FindBusybox() (string, error) { return filepath.EvalSymlinks("/bin/busybox") }

// oddPrograms are the programs that steps of the Dockerfile call in the image odds.
const oddPrograms = "sh cat ls mkdir rm rmdir echo ln chmod chown touch mkfifo mknod mv cp dd truncate head seq printf id sleep test true sync stat"

// WriteOdds writes the image odds: busybox, and a tree with every type of file that the
// Dockerfile changes.
func WriteOdds(w io.Writer) error {
	path, err := FindBusybox()
	if err != nil {
		return err
	}
	busybox, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	b := newTarball(w)
	b.dirs("bin", "dev", "etc", "proc", "sys")
	b.add(tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}, "")
	b.add(tar.Header{Typeflag: tar.TypeReg, Name: "bin/busybox", Mode: 0o755}, string(busybox))
	for _, name := range strings.Fields(oddPrograms) {
		b.symlink("bin/"+name, "busybox")
	}
	addLower(b)
	b.capable("tool", "touched", "chmodded", "before", "written", "linked")
	return b.finish()
}

func addLower(b *tarball) {
	b.dirs("lower")
	for _, dir := range []string{"delete-dir", "opaque-dir", "dir-to-file", "dir-to-symlink", "chown-dir", "deep", "deep/er", "keep-dir"} {
		b.dirs("lower/"+dir, "lower/"+dir+"/sub")
		b.files("lower/"+dir+"/old", "lower/"+dir+"/sub/old")
	}
	b.dirs("lower/sgid-dir", "lower/sticky-dir", "lower/unpacked-dir")
	b.files("lower/delete-file", "lower/replace-file", "lower/file-to-dir", "lower/file-to-symlink", "lower/suid", "lower/mode-none",
		"lower/chown-file", "lower/touched", "lower/keep-file", "lower/copied-over", "lower/plain", "lower/unpacked-dir/old")
	b.symlink("lower/symlink-to-dir", "keep-dir")
	b.symlink("lower/symlink-to-file", "keep-file")
	b.symlink("lower/link", "keep-file")
	b.symlink("lower/dirlink", "keep-dir")
	b.symlink("lower/chown-link", "nowhere")
	b.files("lower/hard-a", "lower/hard-c")
	b.link("lower/hard-b", "lower/hard-a")
	b.link("lower/hard-d", "lower/hard-c")
	b.special(tar.TypeFifo, "lower/fifo", 0, 0)
	b.special(tar.TypeChar, "lower/char", 1, 7)
	b.xattr("lower/attributed", "user.note", "a\x00b")
}

// writeOddTar writes the tar that the Dockerfile copies and unpacks.
func writeOddTar(w io.Writer) error {
	b := newTarball(w)
	b.dirs("unpacked-dir")
	b.files("plain", "unpacked-dir/new")
	b.link("unpacked-dir/hard", "plain")
	b.symlink("symlink", "plain")
	b.special(tar.TypeFifo, "odd-fifo", 0, 0)
	b.add(tar.Header{Typeflag: tar.TypeReg, Name: "owned", Mode: 0o4711, Uid: 77, Gid: 78}, "owned")
	b.xattr("capable", Capability, netRaw)
	return b.finish()
}

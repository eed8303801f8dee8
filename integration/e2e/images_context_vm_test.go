//go:build vm

package e2e

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/engine"
)

// longAgo is the time of all that the tests bring along, so that it can be
// told from what a build makes.
var longAgo = time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)

// netRaw is the attribute of a file that has CAP_NET_RAW.
const netRaw = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

const capability = "security.capability"

// tarball makes a tar whose entries are all of long ago. The first error is
// kept for the end.
type tarball struct {
	*tar.Writer
	err error
}

func (b *tarball) add(h tar.Header, content string) {
	h.ModTime, h.Size = longAgo, int64(len(content))
	b.err = errors.Join(b.err, b.WriteHeader(&h))
	_, err := io.WriteString(b, content)
	b.err = errors.Join(b.err, err)
}

func (b *tarball) dirs(names ...string) {
	for _, name := range names {
		b.add(tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755}, "")
	}
}

func (b *tarball) files(names ...string) {
	for _, name := range names {
		b.add(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, "this is "+name+"\n")
	}
}

func (b *tarball) symlink(name, target string) {
	b.add(tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}, "")
}

func (b *tarball) link(name, target string) {
	b.add(tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target, Mode: 0o644}, "")
}

func (b *tarball) special(typeflag byte, name string, major, minor int64) {
	b.add(tar.Header{Typeflag: typeflag, Name: name, Mode: 0o644, Devmajor: major, Devminor: minor}, "")
}

func (b *tarball) xattr(name, key, value string) {
	b.add(tar.Header{
		Typeflag: tar.TypeReg, Name: name, Mode: 0o755, PAXRecords: map[string]string{"SCHILY.xattr." + key: value},
	}, "this is "+name+"\n")
}

func (b *tarball) capable(names ...string) {
	b.dirs("caps")
	for _, name := range names {
		b.xattr("caps/"+name, capability, netRaw)
	}
}

func newTarball(w io.Writer) *tarball { return &tarball{Writer: tar.NewWriter(w)} }

func (b *tarball) finish() error { return errors.Join(b.err, b.Close()) }

// still is a program that runs in any image.
func still() (string, error) { return filepath.EvalSymlinks("/bin/busybox") }

// oddPrograms are what the steps of the Dockerfile call in the image odds.
const oddPrograms = "sh cat ls mkdir rm rmdir echo ln chmod chown touch mkfifo mknod mv cp dd truncate head seq printf id sleep test true sync stat"

// writeOdds is the image odds: busybox, and a tree with one of everything that
// the Dockerfile changes.
func writeOdds(w io.Writer) error {
	path, err := still()
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

// manyFiles are the directories of Debian that are left out: a third of its
// files. vfs copies every file for each step.
var manyFiles = []string{"./usr/share/man/", "./usr/share/locale/", "./usr/share/zoneinfo/"}

// writeDebian is the image debian, with a file that has a capability.
func writeDebian(w io.Writer) error {
	f, err := os.Open("/lab/base/debian-base.tar")
	if err != nil {
		return err
	}
	defer f.Close()
	b, in := newTarball(w), tar.NewReader(f)
	for {
		header, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if hasPrefixOf(header.Name, manyFiles) {
			continue
		}
		if err := b.WriteHeader(header); err != nil {
			return err
		}
		if _, err := io.Copy(b, in); err != nil {
			return err
		}
	}
	b.capable("tool")
	return b.finish()
}

func hasPrefixOf(s string, prefixes []string) bool {
	for _, prefix := range prefixes {
		if strings.HasPrefix(s, prefix) {
			return true
		}
	}
	return false
}

// writeOddTar is the tar that the Dockerfile copies and unpacks.
func writeOddTar(w io.Writer) error {
	b := newTarball(w)
	b.dirs("unpacked-dir")
	b.files("plain", "unpacked-dir/new")
	b.link("unpacked-dir/hard", "plain")
	b.symlink("symlink", "plain")
	b.special(tar.TypeFifo, "odd-fifo", 0, 0)
	b.add(tar.Header{Typeflag: tar.TypeReg, Name: "owned", Mode: 0o4711, Uid: 77, Gid: 78}, "owned")
	b.xattr("capable", capability, netRaw)
	return b.finish()
}

// importFrom imports an image that write writes.
func importFrom(e *engine.Engine, name string, write func(io.Writer) error) error {
	cmd := e.Command("import", "-", name)
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return err
	}
	written := errors.Join(write(in), in.Close())
	if err := errors.Join(cmd.Wait(), written); err != nil {
		return errors.Join(err, errors.New("docker import "+name+": "+out.String()))
	}
	return nil
}

// everythingContext is the build context of testdata/everything.
func everythingContext(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	dockerfile, err := os.ReadFile("testdata/everything/Dockerfile")
	must(t, err)
	megabyte := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(megabyte) // never fails
	var odd bytes.Buffer
	must(t, writeOddTar(&odd))
	files := map[string][]byte{
		"Dockerfile":               dockerfile,
		"odd.tar":                  odd.Bytes(),
		"copied/megabyte":          megabyte,
		"copied/over":              []byte("over\n"),
		"copied/sub/with space":    []byte("space\n"),
		"copied/sub/empty":         nil,
		"copied/sub/\u00fcn\u00ef": []byte("unicode\n"),
	}
	debs, err := filepath.Glob("/lab/base/debs/*.deb")
	must(t, err)
	if len(debs) < 3 {
		t.Fatalf("too few packages to install: %q", debs)
	}
	for _, deb := range debs {
		raw, err := os.ReadFile(deb)
		must(t, err)
		files["debs/"+filepath.Base(deb)] = raw
	}
	for name, content := range files {
		path := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, content, 0o644))
	}
	must(t, os.Symlink("over", filepath.Join(dir, "copied", "symlink")))
	must(t, os.Chmod(filepath.Join(dir, "copied", "over"), 0o755))
	return aged(t, dir)
}

// aged makes everything in a directory of long ago.
func aged(t testing.TB, dir string) string {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.Type() == os.ModeSymlink {
			return err
		}
		return os.Chtimes(path, longAgo, longAgo)
	}))
	return dir
}

package images

import (
	"archive/tar"
	"errors"
	"io"
	"time"
)

// LongAgo is the time of all files that the tests bring along. Files that a build makes
// are newer.
var LongAgo = time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)

// netRaw is the value of Capability for CAP_NET_RAW.
const netRaw = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// Capability is the attribute that stores a file's capabilities.
const Capability = "security.capability"

// tarball writes a tar whose entries have the time LongAgo. finish returns its errors.
type tarball struct {
	*tar.Writer
	err error
}

func (b *tarball) add(h tar.Header, content string) {
	h.ModTime, h.Size = LongAgo, int64(len(content))
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
		b.xattr("caps/"+name, Capability, netRaw)
	}
}

func newTarball(w io.Writer) *tarball { return &tarball{Writer: tar.NewWriter(w)} }

func (b *tarball) finish() error { return errors.Join(b.err, b.Close()) }

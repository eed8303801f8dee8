package treecmp

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// inode identifies a file on a machine.
type inode struct{ dev, ino uint64 }

// FromDir describes a directory. skip lists paths that are omitted with everything
// below, such as mount points.
func FromDir(dir string, skip ...string) (*Tree, error) {
	d := &dirWalk{dir: dir, skip: skip, inodes: make(map[*Entry]inode), sums: make(map[inode]string)}
	// The dot follows a symlink to the directory, such as /proc/PID/root.
	if err := filepath.WalkDir(dir+"/.", d.visit); err != nil {
		return nil, err
	}
	return newTree(d.entries, func(e *Entry) inode { return d.inodes[e] }), nil
}

type dirWalk struct {
	dir     string
	skip    []string
	entries []*Entry
	inodes  map[*Entry]inode
	sums    map[inode]string // checksums of files with several links
}

func (d *dirWalk) visit(path string, listed fs.DirEntry, err error) error {
	if err != nil {
		return err
	}
	rel, err := filepath.Rel(d.dir, path)
	if err != nil {
		return err
	}
	if slices.Contains(d.skip, rel) {
		if listed.IsDir() {
			return fs.SkipDir
		}
		return nil
	}
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	e, err := d.describe(path, rel, &st)
	if err != nil {
		return err
	}
	d.entries = append(d.entries, e)
	return nil
}

func (d *dirWalk) describe(path, rel string, st *unix.Stat_t) (*Entry, error) {
	e := &Entry{
		Path: Escape(rel), Type: typeOf(st.Mode), Mode: st.Mode & 0o7777,
		UID: int(st.Uid), GID: int(st.Gid), MTime: time.Unix(st.Mtim.Unix()).UTC(),
	}
	id := inode{st.Dev, st.Ino}
	d.inodes[e] = id
	if e.Type != Dir {
		e.Links = links(st.Nlink)
	}
	var err error
	switch e.Type {
	case File:
		e.Size = st.Size
		e.Sum, err = d.sum(path, id, links(st.Nlink))
	case Symlink:
		e.Target, err = os.Readlink(path)
		e.Target = Escape(e.Target)
	case Char, Block:
		e.Major, e.Minor = unix.Major(st.Rdev), unix.Minor(st.Rdev)
	}
	if err != nil {
		return nil, err
	}
	e.Xattrs, err = xattrs(path)
	return e, err
}

func typeOf(mode uint32) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return File
	case unix.S_IFDIR:
		return Dir
	case unix.S_IFLNK:
		return Symlink
	case unix.S_IFIFO:
		return Fifo
	case unix.S_IFSOCK:
		return Socket
	case unix.S_IFCHR:
		return Char
	case unix.S_IFBLK:
		return Block
	}
	return fmt.Sprintf("%#o", mode&unix.S_IFMT)
}

func (d *dirWalk) sum(path string, id inode, links uint64) (string, error) {
	if sum, ok := d.sums[id]; ok {
		return sum, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum, err := sumOf(f)
	if links > 1 {
		d.sums[id] = sum
	}
	return sum, err
}

func sumOf(r io.Reader) (string, error) {
	hash := sha256.New()
	if _, err := io.Copy(hash, r); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// xattrs returns all attributes that this process may read, without the hidden ones.
func xattrs(path string) (map[string]string, error) {
	list, err := readGrowing(func(buf []byte) (int, error) { return unix.Llistxattr(path, buf) })
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, &fs.PathError{Op: "llistxattr", Path: path, Err: err}
	}
	var found map[string]string
	for _, raw := range bytes.Split(bytes.TrimSuffix(list, []byte{0}), []byte{0}) {
		name := string(raw)
		if name == "" || isHidden(name) {
			continue
		}
		value, err := readGrowing(func(buf []byte) (int, error) { return unix.Lgetxattr(path, name, buf) })
		if err != nil {
			return nil, &fs.PathError{Op: "lgetxattr " + name, Path: path, Err: err}
		}
		if found == nil {
			found = make(map[string]string)
		}
		found[Escape(name)] = hex.EncodeToString(value)
	}
	return found, nil
}

// readGrowing calls get with a growing buffer until it is large enough.
func readGrowing(get func([]byte) (int, error)) ([]byte, error) {
	for size := 256; ; size *= 4 {
		buf := make([]byte, size)
		n, err := get(buf)
		if !errors.Is(err, unix.ERANGE) {
			return buf[:max(n, 0)], err
		}
	}
}

// links converts a number of links, whose type depends on the architecture.
func links[T uint32 | uint64](n T) uint64 { return uint64(n) }

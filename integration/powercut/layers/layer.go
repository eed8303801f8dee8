package layers

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

const (
	whiteoutPrefix = ".wh."
	opaqueMark     = ".wh..wh..opq"
)

// Random is the source of everything with a seed.
func Random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15)) }

// Options say what a layer may hold.
type Options struct {
	Base   bool // nothing is below: nothing to delete
	Xattrs bool // user attributes, which moby's own drivers leave out of a Diff
}

// Tar makes the layer of a seed. Layers share their names, so that one hides
// what another has.
func Tar(seed uint64, o Options) ([]byte, error) {
	var b bytes.Buffer
	m := &maker{Rand: Random(seed), Options: o, out: tar.NewWriter(&b)}
	// A base has every directory, so that what deletes finds one to delete in.
	dirs := m.Perm(5)
	if !o.Base {
		dirs = dirs[:2+m.IntN(3)]
	}
	for _, n := range dirs {
		m.dir(fmt.Sprintf("d%d", n), true)
	}
	if !o.Base && m.IntN(4) == 0 {
		m.entry(tar.Header{Name: whiteoutPrefix + fmt.Sprintf("f%d", m.IntN(12)), Typeflag: tar.TypeReg}, nil)
	}
	m.entry(tar.Header{Name: "of-this-layer", Typeflag: tar.TypeReg, Mode: 0o644}, fmt.Appendf(nil, "%x\n", seed))
	err := errors.Join(m.err, m.out.Close())
	return b.Bytes(), err
}

// maker writes one tar. The first error stays.
type maker struct {
	*rand.Rand
	Options
	out *tar.Writer
	err error
}

// entry writes an entry with an owner and a time, and returns it.
func (m *maker) entry(h tar.Header, content []byte) tar.Header {
	h.Size, h.Format = int64(len(content)), tar.FormatPAX
	h.ModTime = time.Unix(1_500_000_000+m.Int64N(1e8), 0)
	h.Uid, h.Gid = m.IntN(3)*1000, m.IntN(2)*50
	m.write(h, content)
	return h
}

func (m *maker) write(h tar.Header, content []byte) {
	if m.err == nil {
		m.err = m.out.WriteHeader(&h)
	}
	if m.err == nil {
		_, m.err = m.out.Write(content)
	}
}

func (m *maker) dir(name string, nest bool) {
	m.entry(tar.Header{Name: name + "/", Typeflag: tar.TypeDir, Mode: []int64{0o755, 0o700, 0o1777, 0o2750}[m.IntN(4)]}, nil)
	opaque := !m.Base && m.IntN(8) == 0
	if opaque {
		m.entry(tar.Header{Name: name + "/" + opaqueMark, Typeflag: tar.TypeReg}, nil)
	}
	var files []tar.Header
	for _, n := range m.Perm(12)[:2+m.IntN(7)] {
		path := fmt.Sprintf("%s/f%d", name, n)
		switch p := m.IntN(20); {
		case p < 2:
			m.entry(tar.Header{Name: path, Typeflag: tar.TypeSymlink, Linkname: strings.Repeat("../", m.IntN(4)) + "f1", Mode: 0o777}, nil)
		case p < 4 && len(files) > 0:
			// One file has one owner, mode and time, under whichever name.
			link := files[m.IntN(len(files))]
			link.Typeflag, link.Linkname, link.Name, link.Size = tar.TypeLink, link.Name, path, 0
			m.write(link, nil)
		case p < 7 && nest && !m.Base && !opaque:
			m.entry(tar.Header{Name: fmt.Sprintf("%s/%sf%d", name, whiteoutPrefix, n), Typeflag: tar.TypeReg}, nil)
		case p < 8:
			m.entry(tar.Header{Name: path, Typeflag: tar.TypeFifo, Mode: 0o600}, nil)
		default:
			files = append(files, m.file(path))
		}
	}
	if nest && m.IntN(3) > 0 {
		m.dir(name+"/sub", false)
	}
}

func (m *maker) file(path string) tar.Header {
	h := tar.Header{Name: path, Typeflag: tar.TypeReg, Mode: []int64{0o644, 0o600, 0o755, 0o4755}[m.IntN(4)]}
	if m.Xattrs && m.IntN(4) == 0 {
		h.PAXRecords = map[string]string{"SCHILY.xattr.user.cut": string(Content(m.Rand, 1+m.IntN(300)))}
	}
	return m.entry(h, Content(m.Rand, size(m.Rand)))
}

// size draws a file's size: nothing, a block's part, several records of ZFS.
func size(r *rand.Rand) int {
	switch p := r.IntN(40); {
	case p < 3:
		return 0
	case p < 25:
		return 1 + r.IntN(600)
	case p < 35:
		return 1 + r.IntN(20_000)
	case p < 39:
		return 1 + r.IntN(150_000)
	}
	return 1 + r.IntN(800_000)
}

// Content is n bytes, half of the time such that they can be compressed.
func Content(r *rand.Rand, n int) []byte {
	data := make([]byte, n)
	if r.IntN(2) == 0 {
		line := fmt.Appendf(nil, "line %x\n", r.Uint32())
		for at := 0; at < n; {
			at += copy(data[at:], line)
		}
		return data
	}
	for i := range data {
		// A NUL would end an attribute's value in a tar.
		data[i] = byte(1 + r.IntN(255))
	}
	return data
}

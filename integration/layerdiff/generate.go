package layerdiff

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Entry is an entry of a tar.
type Entry struct {
	tar.Header
	Body string
}

// Layer is a tar.
type Layer []Entry

// Stack is a stack of layers, the base first.
type Stack []Layer

// Tar returns the layer's bytes.
func (l Layer) Tar() ([]byte, error) {
	var raw bytes.Buffer
	w := tar.NewWriter(&raw)
	for _, e := range l {
		if err := w.WriteHeader(&e.Header); err != nil {
			return nil, fmt.Errorf("%q: %w", e.Name, err)
		}
		if _, err := io.WriteString(w, e.Body); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	if len(l) == 0 {
		return nil, err // the others take a stream of no bytes, too
	}
	return raw.Bytes(), err
}

// String lists the layers and their entries, one a line.
func (s Stack) String() string {
	var b strings.Builder
	for i, l := range s {
		fmt.Fprintf(&b, "layer %d\n", i)
		for _, e := range l {
			fmt.Fprintf(&b, "  %c %q %#o %d:%d %d", e.Typeflag, e.Name, e.Mode, e.Uid, e.Gid, e.ModTime.Unix())
			if e.Linkname != "" {
				fmt.Fprintf(&b, " to %q", e.Linkname)
			}
			if len(e.PAXRecords) > 0 {
				fmt.Fprintf(&b, " %q", e.PAXRecords)
			}
			fmt.Fprintln(&b)
		}
	}
	return b.String()
}

// Bounds of a generated stack. Few names make many of the entries meet.
const (
	maxLayers  = 4
	maxEntries = 9
)

var (
	dirNames  = []string{"", "", "a/", "b/", "a/c/", "b/c/", "a/c/d/"}
	leafNames = []string{"a", "b", "c", "d", "f", "g"}
	spellings = []string{"%s", "%s", "%s", "%s", "./%s", "/%s", "//%s", "../%s", "x/../%s", ".//%s"}
	targets   = []string{"a", "b", "/b", "/a/c", "f", "nothing", "../a", "../../..", "c", "/"}
	modes     = []int64{0o644, 0o755, 0o600, 0o1777, 0o2755, 0o4711, 0o700, 0}
	owners    = []int{0, 0, 0, 1000, 65534, 1 << 21, 1<<32 - 2}
	formats   = []tar.Format{tar.FormatPAX, tar.FormatPAX, tar.FormatGNU}
)

// attributeValues are values of extended attributes: lists of access with a named user, for
// files and for what is made in a directory, and a capability.
var attributeValues = map[string]string{
	"SCHILY.xattr.system.posix_acl_access":  acl,
	"SCHILY.xattr.system.posix_acl_default": acl,
	"SCHILY.xattr.security.capability":      "\x01\x00\x00\x02\x00\x04" + strings.Repeat("\x00", 14),
	"SCHILY.xattr.user.overlay.opaque":      "y",
	"LIBARCHIVE.xattr.user.libarchive":      "eA==",
}

const acl = "\x02\x00\x00\x00" + "\x01\x00\x07\x00\xff\xff\xff\xff" + "\x02\x00\x05\x00\xe8\x03\x00\x00" +
	"\x04\x00\x05\x00\xff\xff\xff\xff" + "\x10\x00\x07\x00\xff\xff\xff\xff" + "\x20\x00\x05\x00\xff\xff\xff\xff"

// Generate returns the stack of a seed.
func Generate(seed uint64) Stack {
	g := generator{rand.New(rand.NewPCG(seed, 9))}
	s := make(Stack, 1+g.IntN(maxLayers))
	for i := range s {
		s[i] = g.layer()
	}
	return s
}

type generator struct{ *rand.Rand }

func pick[T any](g generator, from []T) T { return from[g.IntN(len(from))] }

func (g generator) layer() Layer {
	var l Layer
	for range g.IntN(maxEntries + 1) {
		l = append(l, g.entry(l).inFormat(pick(g, formats)))
	}
	return l
}

func (g generator) name() string { return pick(g, dirNames) + pick(g, leafNames) }

// entry returns another entry of the layer.
func (g generator) entry(l Layer) Entry {
	h := tar.Header{
		Name: fmt.Sprintf(pick(g, spellings), g.name()), Mode: pick(g, modes), Uid: pick(g, owners), Gid: pick(g, owners),
		ModTime: time.Unix(1e9+g.Int64N(1e8), 0), Format: tar.FormatPAX,
	}
	switch n := g.IntN(100); {
	case n < 27:
		h.Typeflag = tar.TypeDir
		return Entry{Header: g.attributes(h)}
	case n < 60:
		return g.file(h)
	case n < 68:
		h.Typeflag, h.Linkname = tar.TypeSymlink, pick(g, targets)
	case n < 75:
		h.Typeflag, h.Linkname = tar.TypeLink, g.linkTarget(l)
	case n < 87:
		h.Typeflag, h.Name = tar.TypeReg, pick(g, dirNames)+".wh."+pick(g, leafNames)
	case n < 92:
		h.Typeflag, h.Name = tar.TypeReg, g.name()+"/.wh..wh..opq"
	case n < 96:
		h.Typeflag = tar.TypeFifo
	case n < 97:
		h.Typeflag = tar.TypeChar // 0:0, a whiteout in overlayfs's form
	default:
		h.Typeflag, h.Devmajor, h.Devminor = pick(g, []byte{tar.TypeChar, tar.TypeBlock}), 1+g.Int64N(4000), g.Int64N(1<<20)
	}
	return Entry{Header: h}
}

func (g generator) file(h tar.Header) Entry {
	h.Typeflag = tar.TypeReg
	body := strings.Repeat(string(rune('a'+g.IntN(26))), pick(g, []int{0, 1, 3, 700, 5000}))
	h.Size = int64(len(body))
	if g.IntN(20) == 0 {
		h.ModTime = pick(g, []time.Time{time.Unix(-1, 0), time.Unix(0, 0), time.Unix(1<<34, 0), time.Unix(1e9, 999999999)})
	}
	return Entry{g.attributes(h), body}
}

// attributes adds extended attributes to some entries.
func (g generator) attributes(h tar.Header) tar.Header {
	if g.IntN(8) == 0 {
		h.PAXRecords = map[string]string{"SCHILY.xattr.user." + pick(g, leafNames): pick(g, leafNames)}
	}
	if g.IntN(16) == 0 {
		name := pick(g, slices.Sorted(maps.Keys(attributeValues)))
		h.PAXRecords = map[string]string{name: attributeValues[name]}
	}
	return h
}

// inFormat returns the entry in a format that can say less than PAX, if it can say the entry.
func (e Entry) inFormat(f tar.Format) Entry {
	if len(e.PAXRecords) == 0 && e.ModTime.Nanosecond() == 0 && !strings.HasSuffix(e.Name, ".wh..wh..opq") {
		e.Format = f
	}
	return e
}

// linkTarget is mostly a file of the layer, now and then another entry.
func (g generator) linkTarget(l Layer) string {
	for range 3 {
		if len(l) == 0 {
			break
		}
		if e := pick(g, l); (e.Typeflag != tar.TypeDir || g.IntN(4) == 0) && !strings.Contains(e.Name, ".wh.") {
			return e.Name
		}
	}
	return g.name()
}

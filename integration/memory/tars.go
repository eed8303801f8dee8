package memory

import (
	"archive/tar"
	"fmt"
	"io"
	"strings"
)

// hostileTar writes a layer's tar of about n entries.
type hostileTar struct {
	name  string
	write func(w *writer, n int)
}

// hostileTars are the tars. What a reader keeps of each entry, or of one entry, fills its memory
// with one of them.
var hostileTars = []hostileTar{
	{"long names in one directory, one of them twice", func(w *writer, n int) {
		for i := range n {
			w.file(longName(i), "")
		}
		w.file(longName(0), "")
	}},
	{"hard links of one file", func(w *writer, n int) {
		w.file("f", "x")
		for i := range n {
			w.add(tar.Header{Typeflag: tar.TypeLink, Name: fmt.Sprintf("l/%d/%d", i/1000, i), Linkname: "f", Mode: 0o644}, "")
		}
		w.file("f", "y")
	}},
	{"files with two names", func(w *writer, n int) {
		for i := range n / 2 {
			w.file(fmt.Sprintf("a%d", i), "")
			w.add(tar.Header{Typeflag: tar.TypeLink, Name: fmt.Sprintf("b%d", i), Linkname: fmt.Sprintf("a%d", i), Mode: 0o644}, "")
		}
		w.file("a0", "")
	}},
	{"whiteouts with long names", func(w *writer, n int) {
		for i := range n {
			w.file("d/.wh."+longName(i)[4:], "")
		}
	}},
	{"directories that delete", func(w *writer, n int) {
		for i := range n / 2 {
			w.file(fmt.Sprintf(".wh.d%d", i), "")
			w.add(tar.Header{Typeflag: tar.TypeDir, Name: fmt.Sprintf("d%d/", i), Mode: 0o755}, "")
		}
	}},
	{"symlinks with long targets", func(w *writer, n int) {
		for i := range n / 10 {
			w.add(tar.Header{Typeflag: tar.TypeSymlink, Name: fmt.Sprintf("l%d", i), Linkname: strings.Repeat("x", 4000), Mode: 0o777}, "")
		}
	}},
	{"deep paths", func(w *writer, n int) {
		for i := range 1 + n/20000 {
			w.file(fmt.Sprintf("%d/%sf", i, strings.Repeat("d/", 8000)), "")
		}
	}},
	{"PAX records of a megabyte", func(w *writer, n int) {
		for i := range 1 + n/200 {
			w.add(tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("f%d", i), Mode: 0o644, PAXRecords: map[string]string{"comment": strings.Repeat("x", 1_000_000)}}, "")
		}
	}},
	{"many attributes", func(w *writer, n int) {
		for i := range 1 + n/1000 {
			records := map[string]string{}
			for attr := range 300 {
				records[fmt.Sprintf("SCHILY.xattr.user.%d", attr)] = strings.Repeat("x", 3000)
			}
			w.add(tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("f%d", i), Mode: 0o644, PAXRecords: records}, "")
		}
	}},
	{"many attributes of files with content that exist already", func(w *writer, n int) {
		records := map[string]string{}
		for attr := range 15 {
			records[fmt.Sprintf("SCHILY.xattr.user.%d", attr)] = strings.Repeat("x", 65_000)
		}
		body := strings.Repeat("x", 256<<10)
		for i := range 40 + n/500 {
			w.add(tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("f%d", i%40), Mode: 0o644, PAXRecords: records}, body)
		}
	}},
	{"files that exist already", func(w *writer, n int) {
		body := strings.Repeat("\x00", 128<<10+1) // its buffer is twice as large
		for i := range n / 10 {
			w.file(fmt.Sprintf("f%d", i%600), body)
		}
	}},
	{"directories that are replaced", func(w *writer, n int) {
		for i := range n {
			w.file("d/"+longName(i), "")
		}
		w.file("d", "")
	}},
}

// longName is a name of 255 bytes.
func longName(i int) string { return fmt.Sprintf("%0255d", i) }

// writer writes a tar, and keeps the first error.
type writer struct {
	*tar.Writer
	err error
}

func (w *writer) add(h tar.Header, body string) {
	if w.err != nil {
		return
	}
	h.Size = int64(len(body))
	if w.err = w.WriteHeader(&h); w.err == nil {
		_, w.err = io.WriteString(w, body)
	}
}

func (w *writer) file(name, body string) {
	w.add(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, body)
}

// writeTo writes the tar.
func (h hostileTar) writeTo(out io.Writer, n int) error {
	w := &writer{Writer: tar.NewWriter(out)}
	h.write(w, n)
	if w.err != nil {
		return w.err
	}
	return w.Close()
}

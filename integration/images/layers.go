package images

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/inguest"
)

// Entry is a member of a layer tar.
type Entry struct {
	Header tar.Header
	Body   string
}

// MakeLayer returns the tar of a layer.
func MakeLayer(t testing.TB, entries ...Entry) []byte {
	t.Helper()
	var raw bytes.Buffer
	w := tar.NewWriter(&raw)
	for _, e := range entries {
		e.Header.Size = int64(len(e.Body))
		inguest.Must(t, w.WriteHeader(&e.Header))
		_, err := io.WriteString(w, e.Body)
		inguest.Must(t, err)
	}
	inguest.Must(t, w.Close())
	return raw.Bytes()
}

// ThreeLayers returns a small Debian and two layers that change it.
func ThreeLayers(t testing.TB) [][]byte {
	t.Helper()
	base, err := debianLayer()
	inguest.Must(t, err)
	second := MakeLayer(t,
		textEntry("etc/motd", "changed\n"),
		textEntry("etc/.wh.issue", ""),
		Entry{Header: tar.Header{Name: "srv/", Mode: 0o750, Typeflag: tar.TypeDir, Uid: 33, Gid: 33}},
		textEntry("srv/one", "1"),
		Entry{Header: tar.Header{Name: "srv/two", Linkname: "srv/one", Typeflag: tar.TypeLink}},
		Entry{Header: tar.Header{Name: "srv/pipe", Mode: 0o600, Typeflag: tar.TypeFifo}},
		Entry{Header: tar.Header{Name: "opt/", Mode: 0o755, Typeflag: tar.TypeDir}},
		textEntry("opt/hidden", "below"),
	)
	third := MakeLayer(t,
		Entry{Header: tar.Header{Name: "opt/", Mode: 0o755, Typeflag: tar.TypeDir}},
		textEntry("opt/.wh..wh..opq", ""),
		textEntry("opt/shown", "above"),
		textEntry("srv/.wh.pipe", ""),
		textEntry("srv/large", strings.Repeat("0123456789abcdef", 1<<16)),
	)
	return [][]byte{base, second, third}
}

// WriteTwoLayers writes a small image of two layers, and returns the path of its archive. Its
// containers print /etc/motd, which is "changed".
func WriteTwoLayers(t testing.TB, name string) string {
	t.Helper()
	return WriteArchive(t, name, []string{"/bin/busybox", "cat", "/etc/motd"}, BusyboxLayer(t), MakeLayer(t, textEntry("etc/motd", "changed\n")))
}

func textEntry(name, body string) Entry {
	return Entry{tar.Header{Name: name, Mode: 0o644, Typeflag: tar.TypeReg}, body}
}

// BusyboxLayer returns a layer with nothing but busybox.
func BusyboxLayer(t testing.TB) []byte {
	t.Helper()
	path, err := FindBusybox()
	inguest.Must(t, err)
	program, err := os.ReadFile(path)
	inguest.Must(t, err)
	return MakeLayer(t,
		Entry{Header: tar.Header{Name: "bin/", Mode: 0o755, Typeflag: tar.TypeDir}},
		Entry{tar.Header{Name: "bin/busybox", Mode: 0o755, Typeflag: tar.TypeReg}, string(program)},
	)
}

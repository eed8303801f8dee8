package images

import (
	"archive/tar"
	"os"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/inguest"
)

// ThreeLayers are a small Debian, changes of it, and more of them.
func ThreeLayers(t testing.TB) [][]byte {
	t.Helper()
	base, err := os.ReadFile("/lab/base/debian-base.tar")
	inguest.Must(t, err)
	second := Layer(t,
		text("etc/motd", "changed\n"),
		text("etc/.wh.issue", ""),
		Entry{Header: tar.Header{Name: "srv/", Mode: 0o750, Typeflag: tar.TypeDir, Uid: 33, Gid: 33}},
		text("srv/one", "1"),
		Entry{Header: tar.Header{Name: "srv/two", Linkname: "srv/one", Typeflag: tar.TypeLink}},
		Entry{Header: tar.Header{Name: "srv/pipe", Mode: 0o600, Typeflag: tar.TypeFifo}},
		Entry{Header: tar.Header{Name: "opt/", Mode: 0o755, Typeflag: tar.TypeDir}},
		text("opt/hidden", "below"),
	)
	third := Layer(t,
		Entry{Header: tar.Header{Name: "opt/", Mode: 0o755, Typeflag: tar.TypeDir}},
		text("opt/.wh..wh..opq", ""),
		text("opt/shown", "above"),
		text("srv/.wh.pipe", ""),
		text("srv/large", strings.Repeat("0123456789abcdef", 1<<16)),
	)
	return [][]byte{base, second, third}
}

func text(name, body string) Entry {
	return Entry{tar.Header{Name: name, Mode: 0o644, Typeflag: tar.TypeReg}, body}
}

// StillLayer is a layer of the program that runs in any image, and nothing else.
func StillLayer(t testing.TB) []byte {
	t.Helper()
	path, err := Still()
	inguest.Must(t, err)
	program, err := os.ReadFile(path)
	inguest.Must(t, err)
	return Layer(t,
		Entry{Header: tar.Header{Name: "bin/", Mode: 0o755, Typeflag: tar.TypeDir}},
		Entry{tar.Header{Name: "bin/busybox", Mode: 0o755, Typeflag: tar.TypeReg}, string(program)},
	)
}

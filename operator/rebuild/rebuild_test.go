package rebuild

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	digest "github.com/opencontainers/go-digest"
	"github.com/vbatts/tar-split/tar/asm"
	"github.com/vbatts/tar-split/tar/storage"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/treestack"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
)

// layer is one that was unpacked, and Docker's record of its tar.
type layer struct {
	*testing.T
	dir, root string
	tar       []byte
}

// newLayer has a file, and one that is named through a symlink.
func newLayer(t *testing.T) layer {
	t.Helper()
	l := layer{T: t, dir: t.TempDir(), root: t.TempDir()}
	l.no(os.MkdirAll(l.at("usr/lib"), 0o755))
	l.no(os.Symlink("/usr/lib", l.at("lib")))
	l.write("one", "first")
	l.write("usr/lib/two", "second")
	l.writeRecord("one", "first", "lib/two", "second")
	return l
}

func (l layer) no(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

func (l layer) at(name string) string { return filepath.Join(l.dir, name) }

func (l layer) write(name, content string) {
	l.Helper()
	l.no(os.WriteFile(l.at(name), []byte(content), 0o600))
}

// instead puts a symlink in a name's place.
func (l layer) instead(name, target string) {
	l.Helper()
	l.no(errors.Join(os.RemoveAll(l.at(name)), os.Symlink(target, l.at(name))))
}

// writeRecord makes a tar of names and contents, and Docker's record of it.
func (l *layer) writeRecord(files ...string) {
	l.Helper()
	var whole bytes.Buffer
	w := tar.NewWriter(&whole)
	for i := 0; i < len(files); i += 2 {
		l.no(w.WriteHeader(&tar.Header{Name: files[i], Typeflag: tar.TypeReg, Mode: 0o600, Size: int64(len(files[i+1]))}))
		_, err := io.WriteString(w, files[i+1])
		l.no(err)
	}
	l.no(w.Close())
	l.tar = whole.Bytes()
	var record bytes.Buffer
	z := gzip.NewWriter(&record)
	in, done, err := asm.NewInputTarStreamWithDone(bytes.NewReader(l.tar), storage.NewJSONPacker(z), nil)
	l.no(err)
	_, err = io.Copy(io.Discard, in)
	l.no(errors.Join(err, <-done, z.Close()))
	l.no(os.MkdirAll(filepath.Dir(l.record()), 0o700))
	l.no(os.WriteFile(l.record(), record.Bytes(), 0o600))
}

// record is where Docker has it. What a layer's chain is does not matter here.
func (l layer) record() string {
	return filepath.Join(l.root, "image/overlay2/layerdb/sha256", digest.FromString("").Encoded(), "tar-split.json.gz")
}

// rebuild makes the tar again.
func (l layer) rebuild(w io.Writer, want digest.Digest) error {
	l.Helper()
	docker, err := dockerstore.Open(l.root)
	l.no(err)
	defer docker.Close()
	record, err := docker.TarSplit("overlay2", digest.FromString(""))
	l.no(err)
	defer record.Close()
	dir, err := os.Open(l.dir)
	l.no(err)
	defer dir.Close()
	return WriteTar(w, record, treestack.Layer{Dir: dir}, want)
}

func TestTheTarIsTheRecordedOne(t *testing.T) {
	l := newLayer(t)
	var got bytes.Buffer
	if err := l.rebuild(&got, digest.FromBytes(l.tar)); err != nil || !bytes.Equal(got.Bytes(), l.tar) {
		t.Errorf("%d bytes of %d, %v", got.Len(), len(l.tar), err)
	}
}

// TestErrorsTellTheLayerFromTheRecord: a changed layer is a Difference, and a damaged record
// is Unproven.
func TestErrorsTellTheLayerFromTheRecord(t *testing.T) {
	differs, unproven := new(Difference), new(Unproven)
	for name, tt := range map[string]struct {
		spoil func(l *layer)
		want  any
		says  string
	}{
		"content": {func(l *layer) { l.write("one", "FIRST") }, differs, `"one"`},
		"more":    {func(l *layer) { l.write("usr/lib/two", "second, and more") }, differs, `"lib/two"`},
		"missing": {func(l *layer) { l.no(os.Remove(l.at("one"))) }, differs, `"one" is missing`},
		"no way":  {func(l *layer) { l.no(os.RemoveAll(l.at("usr"))) }, differs, `"lib/two" is missing`},
		"symlink": {func(l *layer) { l.instead("one", "/etc/passwd") }, differs, "is not a regular file"},
		"fifo":    {func(l *layer) { l.no(errors.Join(os.Remove(l.at("one")), unix.Mkfifo(l.at("one"), 0o600))) }, differs, "is not a regular file"},
		"socket": {func(l *layer) {
			l.no(errors.Join(os.Remove(l.at("one")), unix.Mknod(l.at("one"), unix.S_IFSOCK|0o600, 0)))
		}, differs, "is not a regular file"}, // its open fails
		"escape":      {func(l *layer) { l.instead("lib", "../..") }, differs, `"lib/two" is missing`},
		"the digest":  {func(l *layer) { l.tar = append(l.tar, 0) }, differs, "the tar has the digest sha256:"},
		"half":        {func(l *layer) { l.no(os.Truncate(l.record(), 60)) }, unproven, "tar-split.json.gz"},
		"a deletion":  {func(l *layer) { l.writeRecord("usr/.wh.one", "x") }, unproven, "which is not a file of the layer"},
		"aufs's mark": {func(l *layer) { l.writeRecord(".wh..wh.aufs", "x") }, unproven, "which is not a file of the layer"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLayer(t)
			tt.spoil(&l)
			err := l.rebuild(io.Discard, digest.FromBytes(l.tar))
			if err == nil || !errors.As(err, tt.want) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%T %v", err, err)
			}
		})
	}
}

// full takes nothing.
type full struct{ error }

func (f full) Write([]byte) (int, error) { return 0, f.error }

// TestAReaderThatFailsIsNoDifference: the reader's error says nothing of the layer.
func TestAReaderThatFailsIsNoDifference(t *testing.T) {
	l := newLayer(t)
	why := errors.New("no more of it")
	if err := l.rebuild(full{why}, digest.FromBytes(l.tar)); err != why {
		t.Errorf("%T %v", err, err)
	}
}

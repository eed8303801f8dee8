package verify

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	digest "github.com/opencontainers/go-digest"
	"github.com/vbatts/tar-split/tar/asm"
	"github.com/vbatts/tar-split/tar/storage"

	"github.com/overlayzfs/overlayzfs/internal/overlayfs"
	"github.com/overlayzfs/overlayzfs/internal/treestack"
	"github.com/overlayzfs/overlayzfs/layertar"
	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/rebuild"
)

// FuzzCompareLayer unpacks a tar and compares the layer with Docker's record of that tar. The
// layer has not changed, so it must be as recorded, or unproven. After a change of a file's
// content it must not be as recorded.
func FuzzCompareLayer(f *testing.F) {
	for _, seed := range comparisonSeeds(f) {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	l := newFuzzedLayer(f)
	f.Fuzz(func(t *testing.T, data []byte, base bool) {
		if data = repairSums(data); !l.unpack(t, data, base) {
			return
		}
		err := l.compare(t, data, base)
		if errors.As(err, new(rebuild.Unproven)) {
			return
		}
		if err != nil {
			t.Fatalf("an unpacked layer is called changed: %v", err)
		}
		if name := l.spoil(t); name != "" {
			if err := l.compare(t, data, base); err == nil {
				t.Errorf("the changed content of %q is called as recorded", name)
			}
		}
	})
}

// comparisonSeeds are tars of every kind of entry, and of every kind that a record loses.
func comparisonSeeds(f *testing.F) (seeds [][]byte) {
	add := func(headers ...*tar.Header) {
		var whole bytes.Buffer
		if err := tarRecord(headers).WriteTar(&whole, func(string) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }); err != nil {
			f.Fatal(err)
		}
		seeds = append(seeds, whole.Bytes())
	}
	add(makeLayer()...)
	again, link, device := header("usr/lib/file", tar.TypeReg, 0o600), header("l", tar.TypeLink, 0o644), header("d", tar.TypeChar, 0o600)
	link.Linkname = "lower/file"
	add(header("usr/lib/file", tar.TypeReg, 0o644), deletion("usr/lib/.wh.file"), again)
	add(link, deletion("lower/.wh..wh..opq"), header("lower/new", tar.TypeReg, 0o644), header("through/x", tar.TypeReg, 0o644))
	add(header("a/", tar.TypeDir, 0o700), header("a/b", tar.TypeReg, 0o644), header("a", tar.TypeSymlink, 0o777), device, deletion(".wh.lower"), header("lower/", tar.TypeDir, 0o755))
	label, whole, through := header("label", 'V', 0), header("whole", tar.TypeCont, 0o644), header("through/l", tar.TypeLink, 0o640)
	label.Size, whole.Size, through.Linkname = 0, int64(len(content)), "through/file"
	add(label, whole)
	add(through, header("through/own", tar.TypeReg, 0o644))
	toMark := header("n", tar.TypeLink, 0o644)
	toMark.Linkname = "lower/file"
	add(deletion("lower/.wh.file"), toMark)
	implying := *toMark
	implying.Name = "implied/n"
	add(deletion("lower/.wh.file"), &implying)
	copied := header("n", tar.TypeLink, 0o600)
	copied.Linkname = "lower/file"
	add(copied, deletion("lower/.wh.file"))
	opaque := header("lower/", tar.TypeDir, 0o755)
	opaque.PAXRecords = map[string]string{paxXattr + overlayfs.OpaqueXattr: overlayfs.OpaqueValue}
	add(opaque, header("lower/new", tar.TypeReg, 0o644))
	capable := header("p", tar.TypeReg, 0o755)
	capable.PAXRecords = map[string]string{paxXattr + layertar.Capabilities: "\x01\x00\x00\x02\x00\x04" + strings.Repeat("\x00", 14)}
	add(capable, header("s", tar.TypeFifo, 0o4755))
	for _, entry := range lossyTars(f) {
		seeds = append(seeds, append(entry, make([]byte, 1024)...))
	}
	return seeds
}

// fuzzedLayer is a layer over another one, and a data-root with the record of one tar.
type fuzzedLayer struct {
	layer, lower string
	record       string
	docker       *dockerstore.Root
	zip          *gzip.Writer // used again: a new one takes as long as all else
}

// chain names the record, whatever its tar is.
var chain = digest.FromString("fuzzed")

func newFuzzedLayer(f *testing.F) fuzzedLayer {
	f.Helper()
	dir := f.TempDir()
	zip, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	if err != nil {
		f.Fatal(err)
	}
	l := fuzzedLayer{zip: zip, layer: filepath.Join(dir, "layer"), lower: filepath.Join(dir, "lower")}
	l.record = filepath.Join(dir, "image/overlayzfs/layerdb/sha256", chain.Encoded(), "tar-split.json.gz")
	docker, err := dockerstore.Open(dir)
	if err = errors.Join(err, os.MkdirAll(filepath.Dir(l.record), 0o755), os.MkdirAll(filepath.Join(l.lower, "lower/dir"), 0o750),
		os.WriteFile(filepath.Join(l.lower, "lower/file"), []byte("below"), 0o600), os.WriteFile(filepath.Join(l.lower, "lower/dir/file"), []byte("in"), 0o644),
		os.Symlink("lower/dir", filepath.Join(l.lower, "through"))); err != nil {
		f.Fatal(err)
	}
	l.docker = docker
	f.Cleanup(func() {
		if err := docker.Close(); err != nil {
			f.Error(err)
		}
	})
	return l
}

// maxClaim bounds the size that a tar may say it has: holes cost no input, but time.
const maxClaim = 1 << 20

// unpack makes the layer and the record of a tar. It reports false for a tar that is refused.
func (l fuzzedLayer) unpack(t *testing.T, data []byte, base bool) bool {
	t.Helper()
	if !isSmall(data) || !l.writeRecord(data) {
		return false
	}
	if err := errors.Join(os.RemoveAll(l.layer), os.Mkdir(l.layer, 0o755)); err != nil {
		t.Fatal(err)
	}
	dir, lower := openBoth(t, l.layer, l.lower)
	defer dir.Close()
	defer lower.Close()
	o := layertar.Options{Base: base}
	if !base {
		o.Below = func() (*os.File, error) { return lower, nil }
	}
	_, err := layertar.Extract(t.Context(), dir, bytes.NewReader(data), o)
	return err == nil
}

func openBoth(t *testing.T, a, b string) (*os.File, *os.File) {
	t.Helper()
	left, err := os.Open(a)
	if err != nil {
		t.Fatal(err)
	}
	right, err := os.Open(b)
	if err != nil {
		t.Fatal(err)
	}
	return left, right
}

func isSmall(data []byte) bool {
	r, sum := tar.NewReader(bytes.NewReader(data)), int64(0)
	for {
		h, err := r.Next()
		if err != nil || sum > maxClaim {
			return sum <= maxClaim
		}
		sum += h.Size
	}
}

// writeRecord writes Docker's record of a tar, and reports false where Docker has none.
func (l fuzzedLayer) writeRecord(data []byte) bool {
	var packed bytes.Buffer
	l.zip.Reset(&packed)
	in, done, err := asm.NewInputTarStreamWithDone(bytes.NewReader(data), storage.NewJSONPacker(l.zip), nil)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, in)
	return errors.Join(err, <-done, in.Close(), l.zip.Close(), os.WriteFile(l.record, packed.Bytes(), 0o600)) == nil
}

// compare compares the layer with the record.
func (l fuzzedLayer) compare(t *testing.T, data []byte, base bool) error {
	t.Helper()
	record, err := l.docker.TarSplit("overlayzfs", chain)
	if err != nil {
		t.Fatal(err)
	}
	defer record.Close()
	dir, err := os.Open(l.layer)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	layer := treestack.Layer{Dir: dir}
	if !base {
		layer.OpenBelow = func() ([]*os.File, error) { return openAll([]string{l.lower}) }
	}
	_, err = CompareLayer(t.Context(), record, layer, digest.FromBytes(data))
	return err
}

// spoil changes the content of a file of the layer, and returns its name.
func (l fuzzedLayer) spoil(t *testing.T) (name string) {
	t.Helper()
	err := filepath.WalkDir(l.layer, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil || len(raw) == 0 {
			return err
		}
		raw[len(raw)-1]++
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			return err
		}
		name = path
		return fs.SkipAll
	})
	if err != nil && !errors.Is(err, fs.ErrPermission) {
		t.Fatal(err)
	}
	return name
}

// repairSums makes the checksum of each header right, so that changed headers are read.
func repairSums(data []byte) []byte {
	data = bytes.Clone(data)
	empty := make([]byte, 512)
	for at := 0; at+512 <= len(data); at += 512 {
		b := data[at : at+512]
		if bytes.Equal(b, empty) {
			continue // the end of the tar
		}
		setSum(b)
		size, err := strconv.ParseInt(strings.Trim(string(b[124:136]), " \x00"), 8, 64)
		if err == nil && size > 0 && size < int64(len(data)) {
			at += int(size+511) &^ 511
		}
	}
	return data
}

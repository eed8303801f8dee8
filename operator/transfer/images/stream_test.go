package images

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/transfer/frame"
)

var (
	now     = time.Unix(1700000000, 0).UTC()
	content = map[digest.Digest]string{}
	base    = put("manifest")
	layer   = put(strings.Repeat("layer", 1000))
	empty   = put("")
)

func put(text string) digest.Digest {
	d := digest.FromString(text)
	content[d] = text
	return d
}

func makeBlob(d digest.Digest, namespaces ...string) Blob {
	return Blob{Digest: d, Size: int64(len(content[d])), Namespaces: namespaces}
}

func makeIndex() Index {
	target := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: base, Size: 8, Annotations: map[string]string{"c": "d"}}
	x := Index{
		Images: []Image{
			{Namespace: "k8s.io", Name: "docker.io/library/web:1", Target: target},
			{Namespace: "moby", Name: "docker.io/library/web:1", Labels: map[string]string{"a": "b"}, Target: target},
		},
		Blobs: []Blob{makeBlob(base, "moby", "k8s.io"), makeBlob(layer, "moby"), makeBlob(empty, "k8s.io")},
	}
	x.Blobs[1].Sources = map[string]string{SourcePrefix + "docker.io": "library/web"}
	return x
}

func open(b Blob) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(content[b.Digest])), nil
}

func write(t testing.TB, x Index) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := Write(&out, x, now, open); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// read reads a stream as a receiver does, and returns the index and the blobs.
func read(raw []byte) (x Index, blobs []string, err error) {
	f, err := frame.NewReader(bytes.NewReader(raw))
	if err != nil {
		return x, nil, err
	}
	s, err := NewReader(f)
	if err != nil {
		return x, nil, err
	}
	for _, b := range s.Index.Blobs {
		var out strings.Builder
		if err := s.Copy(&out, b.Size); err != nil {
			return x, blobs, err
		}
		blobs = append(blobs, out.String())
	}
	return s.Index, blobs, s.End()
}

func TestThereAndBack(t *testing.T) {
	x := makeIndex()
	got, blobs, err := read(write(t, x))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(x, got) + cmp.Diff([]string{content[base], content[layer], ""}, blobs); diff != "" {
		t.Error(diff)
	}
	if _, _, err := read(write(t, Index{})); err != nil {
		t.Errorf("no images: %v", err)
	}
	want := Header{Time: now, Namespaces: []string{"k8s.io", "moby"}, Images: 2, Blobs: 3, Bytes: 5008}
	for _, moment := range []time.Time{now, now.Add(time.Millisecond), now.Add(time.Second - 1)} {
		if diff := cmp.Diff(want, x.Describe(moment)); diff != "" {
			t.Error(diff)
		}
	}
}

// TestNoDamageIsTaken: whatever byte is wrong or missing, reading fails.
func TestNoDamageIsTaken(t *testing.T) {
	whole := write(t, makeIndex())
	for i := range whole {
		damaged := bytes.Clone(whole)
		damaged[i] ^= 0x10
		if _, _, err := read(damaged); err == nil {
			t.Fatalf("byte %d is wrong, and it is read", i)
		}
		if _, _, err := read(whole[:i]); err == nil {
			t.Fatalf("%d bytes are read as if they were all", i)
		}
	}
}

// TestDamagedBlobIsNotSent: the sender proves what it sends.
func TestDamagedBlobIsNotSent(t *testing.T) {
	for _, text := range []string{"", "manifes", "Manifest"} {
		err := Write(io.Discard, makeIndex(), now, func(b Blob) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil })
		if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "pull the image again") {
			t.Errorf("%q is sent: %v", text, err)
		}
	}
}

// TestRefusedIndexes: what a stream may not say.
func TestRefusedIndexes(t *testing.T) {
	for name, change := range map[string]func(*Index){
		"negative size":         func(x *Index) { x.Blobs[1].Size = -1 },
		"sizes that overflow":   func(x *Index) { x.Blobs[1].Size, x.Blobs[0].Size = 1<<62, 1<<62+1 },
		"digest that is a path": func(x *Index) { x.Blobs[1].Digest = "../../etc/passwd" },
		"unknown algorithm":     func(x *Index) { x.Blobs[1].Digest = "md5:0123456789abcdef0123456789abcdef" },
		"blob twice":            func(x *Index) { x.Blobs[1] = x.Blobs[0] },
		"blob nowhere":          func(x *Index) { x.Blobs[1].Namespaces = nil },
		"blob elsewhere":        func(x *Index) { x.Blobs[1].Namespaces = []string{"lab"} },
		"blob everywhere":       func(x *Index) { x.Blobs[1].Namespaces = []string{"moby", "moby", "moby"} },
		"label that holds":      func(x *Index) { x.Blobs[1].Sources = map[string]string{"containerd.io/gc.root": "x"} },
		"long source":           func(x *Index) { x.Blobs[1].Sources = map[string]string{SourcePrefix: strings.Repeat("x", 5000)} },
		"name space": func(x *Index) {
			x.Images[0].Namespace, x.Blobs[0].Namespaces[1], x.Blobs[2].Namespaces[0] = "a/b", "a/b", "a/b"
		},
		"no name space":       func(x *Index) { x.Images[0].Namespace, x.Blobs[0].Namespaces[1], x.Blobs[2].Namespaces[0] = "", "", "" },
		"no name":             func(x *Index) { x.Images[0].Name = "" },
		"name with an escape": func(x *Index) { x.Images[0].Name = "a\x1b[2J" },
		"long name":           func(x *Index) { x.Images[0].Name = strings.Repeat("x", 5000) },
		"name twice":          func(x *Index) { x.Images[0].Namespace = "moby" },
		"long label":          func(x *Index) { x.Images[1].Labels["a"] = strings.Repeat("x", 5000) },
		"long annotation":     func(x *Index) { x.Images[1].Target.Annotations = map[string]string{"c": strings.Repeat("x", 5000)} },
		"manifest missing":    func(x *Index) { x.Images[1].Target.Digest = digest.FromString("x") },
		"manifest's size":     func(x *Index) { x.Images[1].Target.Size = 9 },
		"manifest elsewhere":  func(x *Index) { x.Blobs[0].Namespaces = []string{"k8s.io"} },
	} {
		x := makeIndex()
		change(&x)
		if err := x.Check(x.Describe(now)); fault.ClassOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	h := makeIndex().Describe(now)
	for _, wrong := range []Header{
		{Namespaces: h.Namespaces, Images: 1, Blobs: 3, Bytes: h.Bytes}, {Namespaces: h.Namespaces, Images: 2, Blobs: 2, Bytes: h.Bytes},
		{Namespaces: h.Namespaces, Images: 2, Blobs: 3, Bytes: 1}, {Namespaces: []string{"moby"}, Images: 2, Blobs: 3, Bytes: h.Bytes},
	} {
		if err := makeIndex().Check(wrong); !errors.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", wrong, err)
		}
	}
}

// makeFrame returns a stream with any content.
func makeFrame(t testing.TB, version uint32, header any, content []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := frame.NewWriter(&out, version, header)
	if err == nil {
		_, err = w.Write(content)
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestRefusedStreams(t *testing.T) {
	none := Index{}.Describe(now)
	for name, tt := range map[string]struct {
		raw  []byte
		says string
	}{
		"a store":          {makeFrame(t, frame.Dataset, none, nil), "a store of Docker's"},
		"no index":         {makeFrame(t, frame.Images, none, nil), "less content"},
		"half an index":    {makeFrame(t, frame.Images, none, append(le.AppendUint32(nil, 9), "{}"...)), "less content"},
		"a large index":    {makeFrame(t, frame.Images, none, le.AppendUint32(nil, 1<<31)), "more than"},
		"no JSON":          {makeFrame(t, frame.Images, none, append(le.AppendUint32(nil, 2), "xx"...)), "index is damaged"},
		"more than it has": {makeFrame(t, frame.Images, none, append(le.AppendUint32(nil, 2), "{}x"...)), "more content"},
		"another header":   {makeFrame(t, frame.Images, Header{Images: 1}, append(le.AppendUint32(nil, 2), "{}"...)), "does not match"},
		"a header's list":  {makeFrame(t, frame.Images, []int{1}, nil), "header is damaged"},
	} {
		if _, _, err := read(tt.raw); err == nil || !strings.Contains(err.Error(), tt.says) || fault.ClassOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzReader reads any index in a right frame: it is refused with a reason, or is one that
// Write writes.
func FuzzReader(f *testing.F) {
	f.Add([]byte(`{"namespaces":["moby"],"images":1,"blobs":1,"bytes":0}`), []byte(`{"images":[{"namespace":"moby","name":"a","target":{"digest":"`+empty+`"}}],"blobs":[{"digest":"`+empty+`","namespaces":["moby"]}]}`), []byte("x"))
	f.Add([]byte(`{"namespaces":[]}`), []byte(`{"blobs":[{"size":-1}]}`), []byte{})
	f.Fuzz(func(t *testing.T, header, index, blobs []byte) {
		if len(header) > 1<<15 || len(index) > 1<<20 {
			return
		}
		var h any = rawJSON(header)
		var out bytes.Buffer
		w, err := frame.NewWriter(&out, frame.Images, h)
		if err != nil {
			return
		}
		_, err = w.Write(append(append(le.AppendUint32(nil, uint32(len(index))), index...), blobs...))
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		x, _, err := read(out.Bytes())
		if err != nil && fault.ClassOf(err) == "" {
			t.Fatal(err)
		}
		if err == nil && x.Check(x.Describe(now)) != nil {
			t.Errorf("%+v", x)
		}
	})
}

// rawJSON is a header that is encoded already.
type rawJSON []byte

func (r rawJSON) MarshalJSON() ([]byte, error) { return r, nil }

package imagereceive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	imagesapi "github.com/containerd/containerd/api/services/images/v1"
	"github.com/containerd/containerd/api/types"
	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/imagestore"
	"github.com/overlayzfs/overlayzfs/operator/transfer/frame"
	"github.com/overlayzfs/overlayzfs/operator/transfer/images"
)

// stock is what a stream is made of.
type stock struct {
	*testing.T
	images.Index
	content map[digest.Digest][]byte
}

func newStock(t *testing.T) *stock {
	return &stock{T: t, content: map[digest.Digest][]byte{}}
}

// blob adds a blob of both name spaces.
func (s *stock) blob(content []byte) ocispec.Descriptor {
	d := ocispec.Descriptor{Digest: digest.FromBytes(content), Size: int64(len(content))}
	if _, has := s.content[d.Digest]; !has {
		s.Blobs = append(s.Blobs, images.Blob{Digest: d.Digest, Size: d.Size, Namespaces: []string{"k8s.io", "moby"}})
	}
	s.content[d.Digest] = content
	return d
}

func (s *stock) json(value any) ocispec.Descriptor {
	s.Helper()
	raw, err := json.Marshal(value)
	if err != nil {
		s.Fatal(err)
	}
	return s.blob(raw)
}

// manifest adds a manifest of two layers.
func (s *stock) manifest(os, architecture string) (m ocispec.Descriptor, config, top digest.Digest) {
	s.Helper()
	layers := []ocispec.Descriptor{s.blob([]byte("base")), s.blob([]byte("top"))}
	diffs := []digest.Digest{layers[0].Digest, layers[1].Digest}
	c := s.json(ocispec.Image{Platform: ocispec.Platform{OS: os, Architecture: architecture}, RootFS: ocispec.RootFS{Type: "layers", DiffIDs: diffs}})
	return s.json(ocispec.Manifest{Config: c, Layers: layers}), c.Digest, identity.ChainID(slices.Clone(diffs))
}

// name gives an image a name in both name spaces.
func (s *stock) name(name string, target ocispec.Descriptor) {
	for _, namespace := range []string{"k8s.io", "moby"} {
		s.Images = append(s.Images, images.Image{Namespace: namespace, Name: name, Target: target})
	}
}

// examine examines the stream at a containerd.
func (s *stock) examine(address string, discard bool) (*Plan, error) {
	s.Helper()
	var raw bytes.Buffer
	err := images.Write(&raw, s.Index, time.Now(), func(b images.Blob) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(s.content[b.Digest])), nil
	})
	if err != nil {
		s.Fatal(err)
	}
	f, err := frame.NewReader(&raw)
	if err != nil {
		s.Fatal(err)
	}
	stream, err := images.NewReader(f)
	if err != nil {
		s.Fatal(err)
	}
	r := Receiver{Target: imagestore.Target{Address: address, Namespace: "moby", Snapshotter: "overlayzfs"}, Discard: discard}
	plan, err := r.Examine(s.Context(), stream)
	if err == nil {
		s.Cleanup(func() {
			if err := plan.Close(); err != nil {
				s.Error(err)
			}
		})
	}
	return plan, err
}

func (s *stock) receive(address string) (Result, error) {
	s.Helper()
	plan, err := s.examine(address, false)
	if err != nil {
		s.Fatal(err)
	}
	return plan.Receive(s.Context(), func(int64) {})
}

// TestReceive: name spaces that share no content get the blobs, of which the stream has one
// copy; manifests for this platform are unpacked; a second time writes nothing.
func TestReceive(t *testing.T) {
	s := newStock(t)
	m, config, top := s.manifest(runtime.GOOS, runtime.GOARCH)
	foreign, _, _ := s.manifest("plan9", "mips")
	artifact := s.json(ocispec.Manifest{Config: s.blob([]byte("no JSON")), Layers: []ocispec.Descriptor{s.blob([]byte("base"))}})
	absent := ocispec.Descriptor{Digest: digest.FromString("another platform's")}
	part := s.json(ocispec.Manifest{Config: s.json(map[string]any{"os": runtime.GOOS, "architecture": runtime.GOARCH}), Layers: []ocispec.Descriptor{absent}})
	s.name("web:1", s.json(ocispec.Index{Manifests: []ocispec.Descriptor{absent, foreign, m, artifact, part, m}}))
	s.name("text:1", s.blob([]byte("text")))
	c, address := startContainerd(t)
	for i := range 2 {
		result, err := s.receive(address)
		if err != nil || result != (Result{Images: 4, Unpacked: 2}) {
			t.Fatalf("%+v, %v", result, err)
		}
		if want := 2 * len(s.Blobs); c.written != want {
			t.Errorf("run %d: %d blobs were written, want %d", i, c.written, want)
		}
	}
	for name, space := range c.spaces {
		if len(space.blobs) != len(s.Blobs) || len(space.leases) > 0 || len(space.images) != 2 {
			t.Errorf("%s has %d blobs, the leases %v, %d images", name, len(space.blobs), space.leases, len(space.images))
		}
		if got := slices.Sorted(maps.Keys(space.snapshots)); len(got) != 2 || !slices.Contains(got, top.String()) {
			t.Errorf("%s has the snapshots %q", name, got)
		}
		if got := space.labels[config.String()]["containerd.io/gc.ref.snapshot.overlayzfs"]; got != top.String() {
			t.Errorf("%s: the configuration holds %q", name, got)
		}
		want := map[string]string{configRef: config.String(), "containerd.io/gc.ref.content.l.0": digest.FromString("base").String(), "containerd.io/gc.ref.content.l.1": digest.FromString("top").String()}
		if got := space.labels[m.Digest.String()]; !maps.Equal(got, want) {
			t.Errorf("%s: the manifest holds %v", name, got)
		}
		index := space.images["web:1"].Target.Digest
		if got := space.labels[index]; len(got) != 6 || got["containerd.io/gc.ref.content.m.2"] != m.Digest.String() {
			t.Errorf("%s: the index holds %v", name, got)
		}
	}
}

// TestHostileImages: an image that lies leaves no name and no lease.
func TestHostileImages(t *testing.T) {
	for name, tt := range map[string]struct {
		make func(*stock) ocispec.Descriptor
		says string
	}{
		"many manifests": {func(s *stock) ocispec.Descriptor {
			var x ocispec.Index
			for i := range maxManifests + 1 {
				x.Manifests = append(x.Manifests, ocispec.Descriptor{Digest: digest.FromString(fmt.Sprint(i))})
			}
			return s.json(x)
		}, "more than 1000 manifests"},
		"digest": {func(s *stock) ocispec.Descriptor {
			return s.json(map[string]any{"manifests": []map[string]any{{"digest": "../../x"}}})
		}, "invalid digest"},
		"wrong tar": {func(s *stock) ocispec.Descriptor {
			layer := s.blob([]byte("base"))
			config := s.json(ocispec.Image{Platform: ocispec.Platform{OS: runtime.GOOS, Architecture: runtime.GOARCH}, RootFS: ocispec.RootFS{DiffIDs: []digest.Digest{digest.FromString("x")}}})
			return s.json(ocispec.Manifest{Config: config, Layers: []ocispec.Descriptor{layer}})
		}, "its tar has the digest"},
		"layers": {func(s *stock) ocispec.Descriptor {
			layer := s.blob([]byte("base"))
			config := s.json(ocispec.Image{Platform: ocispec.Platform{OS: runtime.GOOS, Architecture: runtime.GOARCH}, RootFS: ocispec.RootFS{DiffIDs: []digest.Digest{layer.Digest}}})
			return s.json(ocispec.Manifest{Config: config, Layers: []ocispec.Descriptor{layer, layer}})
		}, "has 1 layers, its manifest 2"},
	} {
		s := newStock(t)
		s.name("bad:1", tt.make(s))
		c, address := startContainerd(t)
		if _, err := s.receive(address); fault.ClassOf(err) == "" || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", name, err)
		}
		for space, got := range c.spaces {
			if len(got.images)+len(got.leases)+len(got.snapshots) > 0 {
				t.Errorf("%s: %s has the images %v, the leases %v, the snapshots %v", name, space, got.images, got.leases, got.snapshots)
			}
		}
	}
}

// TestBlobWithAnotherDigest is refused by containerd.
func TestBlobWithAnotherDigest(t *testing.T) {
	s := newStock(t)
	s.name("a:1", s.blob([]byte("text")))
	c, address := startContainerd(t)
	plan, err := s.examine(address, false)
	if err != nil {
		t.Fatal(err)
	}
	for i := range plan.stream.Index.Blobs {
		plan.stream.Index.Blobs[i].Digest = digest.FromString("other")
	}
	if _, err := plan.Receive(t.Context(), func(int64) {}); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "does not match its digest") {
		t.Errorf("it is received: %v", err)
	}
	if got := c.in("moby"); len(got.blobs)+len(got.leases) > 0 {
		t.Errorf("it leaves %+v", got)
	}
}

// TestNames: a name goes to the image of the stream. The image that had it is dangling in
// Docker's name space, and elsewhere keeps another name or is lost.
func TestNames(t *testing.T) {
	s := newStock(t)
	s.name("a:1", s.blob([]byte("new")))
	s.name("b:1", s.blob([]byte("same")))
	c, address := startContainerd(t)
	own := digest.FromString("own")
	put := func(namespace, name string, d digest.Digest) {
		c.in(namespace).images[name] = &imagesapi.Image{Name: name, Target: &types.Descriptor{Digest: d.String(), Size: 3}}
	}
	put("moby", "a:1", own)
	put("k8s.io", "a:1", own)
	put("k8s.io", "b:1", digest.FromString("same"))
	plan, err := s.examine(address, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.Check(); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "has no other name") || plan.New != 1 || plan.Same != 1 || len(plan.Changes) != 2 {
		t.Errorf("%+v, %v", plan, err)
	}
	if plan, err = s.examine(address, true); err != nil || plan.Check() != nil {
		t.Errorf("with --discard: %v, %v", err, plan.Check())
	}
	put("k8s.io", own.String(), own) // as the CRI names it
	if plan, err = s.examine(address, false); err != nil || plan.Check() != nil {
		t.Fatalf("with another name: %v, %v", err, plan.Check())
	}
	if _, err := plan.Receive(t.Context(), func(int64) {}); err != nil {
		t.Fatal(err)
	}
	for namespace, want := range map[string][]string{"moby": {"a:1", "b:1", "moby-dangling@" + own.String()}, "k8s.io": {"a:1", "b:1", own.String()}} {
		got := c.in(namespace).images
		if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, want) {
			t.Errorf("%s has %q, want %q", namespace, names, want)
		}
		if got["a:1"].Target.Digest != digest.FromString("new").String() {
			t.Errorf("%s: a:1 is %v", namespace, got["a:1"])
		}
		if kept := got[want[2]]; kept != nil && kept.Target.Digest != own.String() {
			t.Errorf("%s: %s is %v", namespace, want[2], kept)
		}
	}
}

// TestRoom: a stream that does not fit is refused before a byte is written.
func TestRoom(t *testing.T) {
	s := newStock(t)
	s.name("a:1", s.blob([]byte("new")))
	s.name("b:1", s.blob([]byte("here")))
	c, address := startContainerd(t)
	here := digest.FromString("here").String()
	c.in("moby").blobs[here] = []byte("here")
	plan, err := s.examine(address, false)
	if err != nil || plan.Check() != nil {
		t.Fatal(err, plan.Check())
	}
	if plan.Missing != int64(len("new")) || plan.free == 0 || plan.free == math.MaxUint64 {
		t.Errorf("%d bytes are missing, %d are free", plan.Missing, plan.free)
	}
	plan.free = 2
	if err := plan.Check(); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "room for 2") {
		t.Errorf("3 bytes where 2 are free: %v", err)
	}
	if findFree(t.TempDir()+"/none") != math.MaxUint64 {
		t.Error("there is no room in a directory that is not here")
	}
}

// TestInterrupted: a receive that is interrupted leaves no lease and no name, and one that was
// killed leaves its lease to the next.
func TestInterrupted(t *testing.T) {
	s := newStock(t)
	m, _, _ := s.manifest(runtime.GOOS, runtime.GOARCH)
	s.name("a:1", m)
	c, address := startContainerd(t)
	c.in("moby").leases[leasePrefix+"1"] = map[string]string{"containerd.io/gc.expire": "2026-01-01T00:00:00Z"}
	c.in("moby").leases["other"] = map[string]string{}
	plan, err := s.examine(address, false)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := plan.Receive(ctx, func(int64) { cancel() }); err == nil {
		t.Error("an interrupted receive has ended well")
	}
	if moby, other := c.in("moby"), c.in("k8s.io"); len(moby.images)+len(other.images)+len(other.leases) > 0 || len(moby.leases) != 1 || moby.leases["other"] == nil {
		t.Errorf("it leaves the images %v, %v and the leases %v, %v", moby.images, other.images, moby.leases, other.leases)
	}
	if result, err := s.receive(address); err != nil || result.Unpacked != 2 {
		t.Errorf("again: %+v, %v", result, err)
	}
}

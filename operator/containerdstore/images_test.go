package containerdstore

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

func TestReadCatalog(t *testing.T) {
	r := newTestRoot(t)
	d := digest.FromString("manifest")
	target := tree{"digest": string(d), "mediatype": "application/x", "size": varint(9)}
	r.write(tree{
		"moby": tree{
			"images": tree{"docker.io/library/web:1": tree{"target": target, "labels": tree{"a": "b"}, "annotations": tree{"c": "d"}}},
			"content": tree{"blob": tree{
				string(d): tree{"size": varint(9), "labels": tree{"containerd.io/gc.ref.content.config": "x", "containerd.io/distribution.source.docker.io": "library/web"}},
				"other":   tree{"labels": tree{"containerd.io/gc.root": "x"}},
			}},
		},
		"lab": tree{"images": tree{"a name": tree{"target": target}, "none": tree{}, "bad": tree{"target": tree{"digest": "x"}}}},
	})
	got, err := r.open().ReadCatalog()
	if err != nil {
		t.Fatal(err)
	}
	var damaged []string
	for _, d := range got.Damaged {
		damaged = append(damaged, d.Namespace+"/"+d.Name)
	}
	if diff := cmp.Diff([]string{"lab/a name", "lab/bad", "lab/none"}, damaged); diff != "" {
		t.Error(diff)
	}
	got.Damaged = nil
	want := &Catalog{
		Images: []ImageRecord{{
			Namespace: "moby", Name: "docker.io/library/web:1", Labels: map[string]string{"a": "b"},
			Target: ocispec.Descriptor{MediaType: "application/x", Digest: d, Size: 9, Annotations: map[string]string{"c": "d"}},
		}},
		Sources: map[digest.Digest]map[string]string{d: {"containerd.io/distribution.source.docker.io": "library/web"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestFindBlobs: what another platform's manifest names may be missing, what all platforms'
// name may not.
func TestFindBlobs(t *testing.T) {
	r := newTestRoot(t)
	i, root := r.image(), r.open()
	find := func(target digest.Digest) Blobs {
		t.Helper()
		b, err := root.FindBlobs(target)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	whole := find(i.target)
	if len(whole.Present) != 6 || whole.Present[0] != i.target || whole.Missing != "" { // with the attestation
		t.Errorf("%+v", whole)
	}
	absent := digest.FromString("absent")
	for name, tt := range map[string]struct {
		target  digest.Digest
		missing digest.Digest
	}{
		"another file":          {r.blob([]byte("text")), ""},
		"no manifest at all":    {absent, absent},
		"an index of absents":   {r.json(map[string]any{"manifests": []map[string]any{{"digest": absent}}}), r.json(map[string]any{"manifests": []map[string]any{{"digest": absent}}})},
		"a manifest of absents": {r.json(map[string]any{"config": map[string]any{"digest": i.config}, "layers": []map[string]any{{"digest": absent}}}), absent},
	} {
		if got := find(tt.target); got.Missing != tt.missing {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if err := os.Remove(filepath.Join(r.dir, blobsDir, "sha256", i.blobs[1].Encoded())); err != nil {
		t.Fatal(err)
	}
	if got := find(i.target); got.Missing != i.blobs[1] {
		t.Errorf("without a layer: %+v", got)
	}
	if err := os.WriteFile(filepath.Join(r.dir, blobsDir, "sha256", i.manifest.Encoded()), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := root.FindBlobs(i.target); !errors.Is(err, fault.Invalid) {
		t.Errorf("with a damaged manifest: %v", err)
	}
	bad := r.json(map[string]any{"config": map[string]any{"digest": "../../x"}})
	if _, err := root.FindBlobs(bad); !errors.Is(err, fault.Invalid) {
		t.Errorf("with a path as digest: %v", err)
	}
}

package migrate

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/overlayzfs/overlayzfs/operator/imagestore"
)

// containerOn records a container of a driver and an image.
func (h host) containerOn(name, driver string, image digest.Digest) (id string) {
	h.Helper()
	id = hexID(name)
	h.write("containers/"+id+"/config.v2.json", `{"ID":"`+id+`","Name":"/`+name+`","Driver":"`+driver+`","Image":"`+image.String()+`","State":{"Running":false}}`)
	return id
}

// TestImportRefusesContainersOnTheStore: an undo would take them for those made since.
func TestImportRefusesContainersOnTheStore(t *testing.T) {
	h := newHost(t, "overlay2")
	id := h.containerOn("earlier", "overlayzfs", digest.FromString("image"))
	h.write("image/overlay2/imagedb/metadata/sha256/x", "")
	const says = "is on the image store already"
	p := h.planning(Request{From: "overlay2", ImageStore: &imagestore.Target{Address: h.path("none.sock")}})
	if err := p.planNew(); err == nil || !strings.Contains(strings.Join(p.plan.Obstacles, "; "), says) {
		t.Errorf("%v, %q", err, p.plan.Obstacles)
	}
	j := Job{Method: Import, From: "overlay2", To: "overlayzfs"}
	if err := h.within(func(r *dataRoot) error { return j.startJob(r, Tools{}) }); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), id[:12]) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(h.path(workDir)); err == nil {
		t.Error("there is a journal")
	}
}

// TestUndoKeepsMigratedContainers when the records of their old layers are missing or cannot be
// read.
func TestUndoKeepsMigratedContainers(t *testing.T) {
	h := newHost(t, "overlay2")
	id := h.containerOn("web", "overlayzfs", digest.FromString("manifest"))
	j := Job{Method: Import, From: "overlay2", To: "overlayzfs", Containers: []string{id}}
	undo := func(r *dataRoot) error { return j.switchContainers(t.Context(), r).undo() }
	if err := h.within(undo); err == nil || !strings.Contains(err.Error(), "was migrated") {
		t.Errorf("%v", err)
	}
	h.write("image/overlay2/layerdb/mounts", "no directory")
	if err := h.within(undo); err == nil || strings.Contains(err.Error(), "was migrated") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(h.path("containers/" + id + "/config.v2.json")); err != nil {
		t.Error(err)
	}
}

// TestUndoWithoutContainerd restores everything that dockerd needs.
func TestUndoWithoutContainerd(t *testing.T) {
	h := newHost(t, "overlay2")
	before := `{"storage-driver": "overlay2"}`
	h.setConfig(&before)
	image, manifest := digest.FromString("image"), digest.FromString("manifest")
	id := h.containerOn("web", "overlayzfs", manifest)
	h.write("image/overlay2/layerdb/mounts/"+id+"/mount-id", "m")
	h.write(buildsName+"/cache.db", "of overlay2")
	h.write("buildkit/cache.db", "of the image store")
	j := Job{Phase: Done, Method: Import, From: "overlay2", To: "overlayzfs", Config: h.config, Containers: []string{id},
		ImageStore: &imagestore.Target{Address: h.path("none.sock")},
		Imported:   map[digest.Digest]importedImage{image: {Manifest: ocispec.Descriptor{Digest: manifest}, Names: []string{"x:latest"}}},
	}
	j.rememberConfig(h.loaded())
	h.no(j.switchConfig())
	for range 2 {
		err := h.within(func(r *dataRoot) error { return j.undo(context.Background(), r, Tools{}) })
		if err == nil || !strings.Contains(err.Error(), "containerd does not answer") || !strings.Contains(err.Error(), "dockerd can start with the driver overlay2") {
			t.Errorf("%v", err)
		}
		h.configIs("after the undo", &before)
		raw, err := os.ReadFile(h.path("containers/" + id + "/config.v2.json"))
		h.no(err)
		if text := string(raw); !strings.Contains(text, `"overlay2"`) || !strings.Contains(text, image.String()) {
			t.Error(text)
		}
		if raw, err := os.ReadFile(h.path("buildkit/cache.db")); err != nil || string(raw) != "of overlay2" {
			t.Errorf("%s, %v", raw, err)
		}
		job, err := FindJob(h.dir)
		h.no(err)
		if job == nil || job.Phase != Undoing || len(job.Imported) != 1 || job.NextCommand() != "overlayzfs migrate --undo" {
			t.Errorf("%+v", job)
		}
	}
}

// TestImageNamedByID: the record names the manifest then, and an undo restores what it was.
func TestImageNamedByID(t *testing.T) {
	h := newHost(t, "overlay2")
	image, manifest := digest.FromString("image"), digest.FromString("manifest")
	names := map[string]bool{
		"x": false, "x:latest": false, "": false, image.String(): true, image.Encoded()[:12]: true,
		"x@" + digest.FromString("repo").String(): true, digest.FromString("another").Encoded()[:12]: false,
	}
	read := func(id string) (c struct {
		Config struct {
			Image string
			Keep  int64
		}
	}) {
		raw, err := os.ReadFile(h.path("containers/" + id + "/config.v2.json"))
		h.no(err)
		h.no(json.Unmarshal(raw, &c))
		return c
	}
	for name := range names {
		id := hexID(name)
		h.write("containers/"+id+"/config.v2.json", `{"ID":"`+id+`","Driver":"overlay2","Image":"`+image.String()+`","Config":{"Image":"`+name+`","Keep":9007199254740993}}`)
		h.write("image/overlay2/layerdb/mounts/"+id+"/mount-id", id)
	}
	j := &Job{Method: Import, From: "overlay2", To: "overlayzfs", Imported: map[digest.Digest]importedImage{image: {Manifest: ocispec.Descriptor{Digest: manifest}}}}
	check := func(replaced bool) {
		t.Helper()
		for name, byID := range names {
			want := name
			if byID && replaced {
				want = manifest.String()
			}
			if c := read(hexID(name)); c.Config.Image != want || c.Config.Keep != 9007199254740993 {
				t.Errorf("%q: %+v, want %q", name, c, want)
			}
		}
	}
	for range 2 {
		h.no(h.within(func(r *dataRoot) error { return j.switchContainers(t.Context(), r).do() }))
		check(true)
	}
	j, err := FindJob(h.dir) // what a killed command leaves
	h.no(err)
	j.Imported = map[digest.Digest]importedImage{image: {Manifest: ocispec.Descriptor{Digest: manifest}}}
	for range 2 {
		h.no(h.within(func(r *dataRoot) error { return j.switchContainers(t.Context(), r).undo() }))
		check(false)
	}
}

package migrate

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/imagestore"
)

// TestImportDaemonJSON: daemon.json names the image store, and an undo gives it back to the letter.
func TestImportDaemonJSON(t *testing.T) {
	is := func(text string) *string { return &text }
	for name, tt := range map[string]struct {
		before *string
		after  string
	}{
		"None":   {nil, "{\n  \"features\": {\n    \"containerd-snapshotter\": true\n  },\n  \"storage-driver\": \"overlayzfs\"\n}\n"},
		"Others": {is(`{"debug": true, "storage-opts": ["overlay2.size=1G", "keep=1"], "storage-driver": "overlay2"}`), `{"debug": true, "storage-opts": ["keep=1"], "storage-driver": "overlayzfs", "features": {` + "\n    \"containerd-snapshotter\": true\n  }}"},
		"Off":    {is(`{"features": {"containerd-snapshotter": false, "x": true}}`), `{"features": {"containerd-snapshotter": true, "x": true}, "storage-driver": "overlayzfs"}`},
		"Done":   {is(`{"features": {"containerd-snapshotter": true}, "storage-driver": "overlayzfs"}`), `{"features": {"containerd-snapshotter": true}, "storage-driver": "overlayzfs"}`},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, "overlay2")
			h.setConfig(tt.before)
			j := Job{Method: Import, From: "overlay2", To: "overlayzfs", Config: h.config}
			j.rememberConfig(h.loaded())
			for range 2 {
				h.no(j.switchConfig())
				if got := string(h.loaded().Raw); got != tt.after {
					t.Errorf("%s\nwant\n%s", got, tt.after)
				}
			}
			for range 2 {
				h.no(j.restoreConfig())
				h.configIs("after the undo", tt.before)
			}
		})
	}
}

// TestImportKeepsOtherFeatures: the undo restores the migration's keys in a daemon.json that
// somebody has changed since.
func TestImportKeepsOtherFeatures(t *testing.T) {
	h := newHost(t, "overlay2")
	before := `{"storage-driver": "overlay2"}`
	h.setConfig(&before)
	j := Job{Method: Import, From: "overlay2", To: "overlayzfs", Config: h.config}
	j.rememberConfig(h.loaded())
	h.no(j.switchConfig())
	edited := strings.Replace(string(h.loaded().Raw), "{", `{"debug": true, `, 1)
	h.setConfig(&edited)
	h.no(j.restoreConfig())
	want := `{"debug": true, "storage-driver": "overlay2"}`
	h.configIs("after the undo", &want)
}

// TestSwitchContainers writes the image's manifest into the records of containers, and an undo
// takes it out. Records of other containers stay, and those made since are set aside.
func TestSwitchContainers(t *testing.T) {
	h := newHost(t, "overlay2")
	image, manifest := digest.FromString("image"), digest.FromString("manifest")
	record := func(id, driver, image string) string {
		return `{"Driver":"` + driver + `","ID":"` + id + `","Image":"` + image + `","Keep":[1]}`
	}
	add := func(name, driver, image string, mounted bool) string {
		id := hexID(name)
		h.write("containers/"+id+"/config.v2.json", record(id, driver, image))
		if mounted {
			h.write("image/overlay2/layerdb/mounts/"+id+"/mount-id", id)
		}
		return id
	}
	web, orphan, other := add("web", "overlay2", image.String(), true), add("orphan", "overlay2", "sha256:gone", true), add("other", "vfs", image.String(), false)
	j := Job{Method: Import, From: "overlay2", To: "overlayzfs", Imported: map[digest.Digest]importedImage{
		image: {Manifest: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: manifest, Size: 7}},
	}}
	r, err := openDataRoot(h.dir)
	h.no(err)
	defer r.Close()
	read := func(id string) (c struct {
		Driver, Image string
		ImageManifest *ocispec.Descriptor
		Keep          []int
	}) {
		raw, err := os.ReadFile(h.path("containers/" + id + "/config.v2.json"))
		h.no(err)
		h.no(json.Unmarshal(raw, &c))
		return c
	}
	s := j.switchContainers(t.Context(), r)
	for range 2 {
		h.no(s.do())
		if c := read(web); c.Driver != "overlayzfs" || c.Image != manifest.String() || c.ImageManifest == nil || c.ImageManifest.Digest != manifest || c.ImageManifest.Size != 7 || len(c.Keep) != 1 {
			t.Errorf("%+v", c)
		}
		if c := read(orphan); c.Driver != "overlayzfs" || c.Image != "sha256:gone" || c.ImageManifest != nil {
			t.Errorf("%+v", c)
		}
	}
	made := add("made", "overlayzfs", manifest.String(), false)
	for range 2 {
		h.no(s.undo())
		if c := read(web); c.Driver != "overlay2" || c.Image != image.String() || c.ImageManifest != nil {
			t.Errorf("%+v", c)
		}
		if c := read(other); c.Driver != "vfs" || c.Image != image.String() {
			t.Errorf("%+v", c)
		}
		if _, err := os.Stat(h.path("containers/" + made)); err == nil {
			t.Error("the container that was made since is there")
		}
		if _, err := os.Stat(h.path(containersName + "/" + made)); err != nil {
			t.Error(err)
		}
	}
}

// TestImportOfAnUntriedStoreIsNotFinished: dockerd has to have made BuildKit's directory again.
func TestImportOfAnUntriedStoreIsNotFinished(t *testing.T) {
	h := newHost(t, "overlay2")
	j := Job{Method: Import, From: "overlay2", To: "overlayzfs", ImageStore: &imagestore.Target{Address: h.path("none.sock")}}
	r, err := openDataRoot(h.dir)
	h.no(err)
	defer r.Close()
	check := func(says string) {
		t.Helper()
		if err := j.checkImported(context.Background(), r, Tools{}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v", err)
		}
	}
	check("has not run with the snapshotter")
	h.write("buildkit/containerdmeta.db", "") // of the graphdrivers
	check("has not run with the snapshotter")
	answers := "containerd does not answer on " + h.path("none.sock")
	h.write("buildkit/history_c8d.db", "")
	check(answers)
	h.no(os.Remove(h.path("buildkit/history_c8d.db")))
	j.To = "overlayzfs"
	check("has not run with the snapshotter")
	h.write("buildkit/containerd-overlayzfs/workerid", "") // of Docker 26
	check(answers)
}

// TestSnapshotStoreNames: the snapshots have the names that dockerd looks for.
func TestSnapshotStoreNames(t *testing.T) {
	base, top := digest.FromString("base"), digest.FromString("top")
	records := &dockerstore.Records{
		Layers: map[digest.Digest]dockerstore.Layer{base: {Chain: base, CacheID: "1"}, top: {Chain: top, Parent: base, CacheID: "2"}},
		Mounts: []dockerstore.Mount{{Name: "web", MountID: "3", InitID: "3-init", Parent: top}, {Name: "bare", MountID: "4"}},
	}
	items, err := listItems(records, noOptions)
	if err != nil {
		t.Fatal(err)
	}
	var s snapshotStore
	s.expect(items, records)
	for id, want := range map[string]imagestore.Snapshot{
		"1": imagestore.ImageSnapshot(base, ""), "2": imagestore.ImageSnapshot(top, base),
		"3-init": imagestore.InitSnapshot("web", top.String()), "3": imagestore.ContainerSnapshot("web", "web-init"), "4": imagestore.ContainerSnapshot("bare", ""),
	} {
		if got, err := s.find(id); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", id, got, err, want)
		}
	}
	if _, err := s.find("5"); err == nil {
		t.Error("a layer that is not one of the migration")
	}
}

// TestIsBuildLease with IDs that BuildKit, dockerd and containerd's client make.
func TestIsBuildLease(t *testing.T) {
	for id, want := range map[string]bool{
		"v76s9e5tabscn4o0le0ok7o24": true, "v76s9e5tabscn4o0le0ok7o24-variants": true, "14uxejpve8mmq4r553fth89p0-view": true, "ref_v76s9e5tabscn4o0le0ok7o24": true,
		"294018762-J3mA": false, hexID("container"): false, "overlayzfs-migrate": false,
	} {
		if got := isBuildLease(id, nil); got != want {
			t.Errorf("%s: %v", id, got)
		}
	}
	if !isBuildLease("294018762-J3mA", map[string]string{"buildkit/lease.temporary": "2026-11-30T15:35:38Z"}) {
		t.Error("a temporary one")
	}
}

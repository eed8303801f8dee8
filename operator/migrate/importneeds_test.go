package migrate

import (
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	digest "github.com/opencontainers/go-digest"

	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/imagestore"
)

// importPlanner plans an Import from vfs on a host without containerd.
func (h host) importPlanner(w Request) *planner {
	w.From, w.ImageStore = "vfs", &imagestore.Target{Address: h.path("none.sock")}
	return h.planning(w)
}

// TestImportCarriesWhatIsNeeded: images' layers and those of containers, but blobs only of
// images. A container whose record names the image store already is one.
func TestImportCarriesWhatIsNeeded(t *testing.T) {
	h := newVFSHost(t)
	loose := h.layer("", "loose", file{"a", "1"})   // of BuildKit's cache
	orphan := h.layer("", "orphan", file{"b", "2"}) // of an image that was removed
	id, _ := h.container("on-orphan", orphan)
	lost, _ := h.container("lost", loose)
	h.no(os.RemoveAll(h.path("containers/" + lost)))
	j := Job{Method: Import, From: "vfs", To: "overlayzfs"}
	h.no(h.within(func(r *dataRoot) error {
		if err := r.setDrivers("vfs", "overlayzfs", func(one string) (bool, error) { return one == hexID("web"), nil }, nil); err != nil {
			return err
		}
		records := h.records("vfs")
		records.Mounts = append(records.Mounts, dockerstore.Mount{Name: "build", MountID: "build", Parent: loose})
		dropped, err := j.dropUnneeded(r, records)
		if err != nil {
			return err
		}
		if !slices.Equal(dropped, []string{lost}) {
			t.Errorf("dropped %q", dropped)
		}
		var kept []string
		for _, m := range records.Mounts {
			kept = append(kept, m.Name)
		}
		slices.Sort(kept)
		want := []string{id, hexID("web"), hexID("db")}
		if slices.Sort(want); !slices.Equal(kept, want) {
			t.Errorf("kept %q", kept)
		}
		if chains := slices.Collect(maps.Keys(records.Layers)); len(chains) != 3 || slices.Contains(chains, loose) {
			t.Errorf("layers %q", chains)
		}
		blobs := 0
		for _, layer := range records.Layers {
			if needsBlob(records, item{image: &layer}) != (layer.Chain != orphan) {
				t.Errorf("blob of %s", layer.CacheID)
			}
			blobs++
		}
		if blobs == 0 || needsBlob(records, item{}) {
			t.Error("blob of a container")
		}
		return requireComplete(records)
	}))
}

// TestImportSkips what it is told to, at the begin and on the way.
func TestImportSkips(t *testing.T) {
	h := newSkipHost(t)
	p := h.importPlanner(Request{Skip: []string{"odd"}})
	p.plan.Job = Job{Method: Import, From: "vfs", To: "overlayzfs", Phase: Carrying}
	p.plan.Resumed, p.Driver = true, "overlayzfs"
	h.no(p.planResume())
	if notes := strings.Join(p.plan.Notes, "; "); len(p.plan.Job.Skip) != 1 || !strings.Contains(notes, "left out (--skip)") {
		t.Errorf("%+v, %q", p.plan.Job.Skip, notes)
	}
	records := h.records("vfs")
	all := len(records.Images)
	if p.plan.Job.skipImages(records); len(records.Images) != all-1 {
		t.Errorf("%d images of %d", len(records.Images), all)
	}
}

// TestImportObstacles are said although containerd does not run.
func TestImportObstacles(t *testing.T) {
	h := newVFSHost(t)
	h.no(os.WriteFile(h.config, []byte(`{"userns-remap":"default"}`), 0o600))
	dead := h.containerOn("dead", "vfs", digest.FromString("removed"))
	h.write("containers/"+dead+"/config.v2.json", strings.Replace(`{"ID":"`+dead+`","Driver":"vfs","Image":"IMAGE","State":{"Dead":true}}`, "IMAGE", digest.FromString("removed").String(), 1))
	h.write("containers/"+hexID("web")+"/hostconfig.json", `{"StorageOpt":{"size":"1G"}}`)
	p := h.importPlanner(Request{ReadConfig: h.config, AskLimits: func() error { return errors.New("nobody sets limits") }}) // --leave-config
	if err := p.planNew(); err == nil || !strings.Contains(err.Error(), "containerd does not answer") {
		t.Errorf("%v", err)
	}
	obstacles, notes := strings.Join(p.plan.Obstacles, "; "), strings.Join(p.plan.Notes, "; ")
	for _, says := range []string{"userns-remap", "nobody sets limits", "container " + dead[:12] + " () is being removed"} {
		if !strings.Contains(obstacles, says) {
			t.Errorf("%q lacks %q", obstacles, says)
		}
	}
	if !strings.Contains(notes, "1 containers, such as "+dead[:12]+", stand on an image that was removed") {
		t.Errorf("%q", notes)
	}
}

// TestImportOfTooMuchSuggestsNoReclaim, which it has not.
func TestImportOfTooMuchSuggestsNoReclaim(t *testing.T) {
	h := newVFSHost(t)
	for _, p := range []*planner{h.planning(Request{From: "vfs"}), h.importPlanner(Request{})} {
		p.plan.Bytes = 1
		p.compareSpace("tank")
		if said := strings.Join(p.plan.Obstacles, "; "); !strings.Contains(said, "free some space") || strings.Contains(said, "--reclaim") != (p.ImageStore == nil) {
			t.Errorf("%q", said)
		}
	}
}

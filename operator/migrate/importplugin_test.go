package migrate

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/imagestore"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/quota"
)

// newPluginHost returns a data-root of the plugin, with its layers in the plugin's directory.
func newPluginHost(t *testing.T) host {
	h := newOverlay2Host(t)
	h.no(h.run(h.moveJob(), &fakeStore{}))
	h.no(Finish(t.Context(), h.dir, (&fakeStore{}).tools()))
	h.driver = "overlayzfs"
	return h
}

// pluginPlanner plans an Import from the plugin on a host without containerd.
func (h host) pluginPlanner() *planner {
	h.Helper()
	p := h.planning(Request{
		Driver: "overlayzfs", ImageStore: &imagestore.Target{Address: h.path("none.sock")},
		FindPlugin: func(driver string) (PluginStore, error) {
			if driver != "overlayzfs" {
				h.Errorf("the store of %s was asked for", driver)
			}
			return PluginStore{Home: h.path(target), Options: []string{"overlayzfs.dataset=x", "OVERLAYZFS.size=1G"}}, nil
		},
	})
	h.no(p.chooseDrivers())
	p.plan.Job.Method, p.records = Import, h.records("overlayzfs")
	h.no(p.countRecords())
	return p
}

// TestPlanFromThePlugin finds the plugin's store, though the snapshotter has the same name.
func TestPlanFromThePlugin(t *testing.T) {
	h := newPluginHost(t)
	p := h.pluginPlanner()
	h.no(p.planPlugin())
	j := p.plan.Job
	if j.From != "overlayzfs" || j.Layers != target || j.PluginDataset != "" || len(p.storeLayers) != 6 || len(p.plan.Obstacles) > 0 {
		t.Errorf("%+v, %d layers, %q", j, len(p.storeLayers), p.plan.Obstacles)
	}
	if len(p.plan.Notes) != 1 || !strings.Contains(p.plan.Notes[0], "OVERLAYZFS.size=1G does not come along") {
		t.Errorf("notes: %q", p.plan.Notes)
	}
	if store, ok := j.SourceStore(h.dir); !ok || store.Home != h.path(target) {
		t.Errorf("%+v, %v", store, ok)
	}

	h.no(os.RemoveAll(h.path(target + "/" + hexID("top") + "/lower")))
	h.write(target+"/.overlayzfs/door", "snapshotter")
	p = h.pluginPlanner()
	h.no(p.planPlugin())
	says := strings.Join(p.plan.Obstacles, "; ")
	for _, want := range []string{"has the layers of snapshotter", "layer " + hexID("top")} {
		if !strings.Contains(says, want) {
			t.Errorf("%q does not say %q", says, want)
		}
	}
}

// TestPluginCopiesItsLimits: the store has the limits that containers have now.
func TestPluginCopiesItsLimits(t *testing.T) {
	records := &dockerstore.Records{Mounts: []dockerstore.Mount{
		{Name: "a", MountID: "1", InitID: "1-init"}, {Name: "b", MountID: "2"}, {Name: "c", MountID: "3"},
	}}
	items, err := listItems(records, func(string) (map[string]string, error) {
		return map[string]string{"size": "64M", "recordsize": "16K"}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	setStoreLimits(items, records, []overlayzfs.LayerInfo{
		{ID: "1", Limit: &quota.Record{Limits: quota.Limits{Bytes: 1 << 20, Inodes: 7}}},
		{ID: "3", Limit: &quota.Record{Properties: quota.Properties{"recordsize": "16K"}}},
	})
	for id, want := range map[string]string{"1": "size=1048576 inodes=7", "1-init": "", "2": "", "3": ""} {
		limit, got := indexByID(items)[id].limit, ""
		for _, name := range []string{"size", "inodes"} {
			if limit[name] != "" {
				got += " " + name + "=" + limit[name]
			}
		}
		if strings.TrimSpace(got) != want || len(limit) != len(strings.Fields(want)) {
			t.Errorf("%s: %q, want %q", id, limit, want)
		}
	}
}

// TestOneNameForPluginAndSnapshotter: Docker's record of a container's layer says that the
// container was the plugin's.
func TestOneNameForPluginAndSnapshotter(t *testing.T) {
	h := newPluginHost(t)
	image, manifest := digest.FromString("image"), digest.FromString("manifest")
	j := Job{Method: Import, From: "overlayzfs", To: "overlayzfs", Containers: []string{hexID("web"), hexID("db")}, Imported: map[digest.Digest]importedImage{
		image: {Manifest: ocispec.Descriptor{Digest: manifest}},
	}}
	h.containerOn("web", "overlayzfs", image)
	read := func(name string) (c struct {
		Driver, Image string
		ImageManifest *ocispec.Descriptor
	}) {
		raw, err := os.ReadFile(h.path("containers/" + hexID(name) + "/config.v2.json"))
		h.no(err)
		h.no(json.Unmarshal(raw, &c))
		return c
	}
	h.no(h.within(func(r *dataRoot) error {
		h.no(j.requireNoneImported(r))
		s := j.switchContainers(t.Context(), r)
		for range 2 {
			h.no(s.do())
			if c := read("web"); c.Driver != "overlayzfs" || c.Image != manifest.String() || c.ImageManifest == nil {
				t.Errorf("%+v", c)
			}
		}
		made := h.containerOn("made", "overlayzfs", manifest)
		if err := j.requireNoneImported(r); err == nil || !strings.Contains(err.Error(), made[:12]) {
			t.Errorf("%v", err)
		}
		for range 2 {
			h.no(s.undo())
			if c := read("web"); c.Driver != "overlayzfs" || c.Image != image.String() || c.ImageManifest != nil {
				t.Errorf("%+v", c)
			}
			if c := read("db"); c.Driver != "overlayzfs" {
				t.Errorf("%+v", c)
			}
		}
		if _, err := os.Stat(h.path(containersName + "/" + made)); err != nil {
			t.Error(err)
		}
		return nil
	}))
}

// TestPluginCopyIsNotRepeated after dockerd has run on the image store.
func TestPluginCopyIsNotRepeated(t *testing.T) {
	h := newPluginHost(t)
	h.write(buildsName+"/history.db", "of the plugin")
	j := Job{Phase: Switching, Method: Import, From: "overlayzfs", To: "overlayzfs", Layers: target}
	h.no(h.within(func(r *dataRoot) error {
		tools := (&fakeStore{token: "t"}).tools()
		h.no(j.beginPluginCopy(r, h.records("overlayzfs"), nil, tools))
		if j.Token != "t" {
			t.Errorf("token %q", j.Token)
		}
		h.no(os.Mkdir(h.path("buildkit/containerd-overlayzfs"), 0o700))
		if err := j.beginPluginCopy(r, h.records("overlayzfs"), nil, tools); err == nil || !strings.Contains(err.Error(), "--undo") {
			t.Errorf("%v", err)
		}
		return nil
	}))
}

// TestPluginThatRanAgainIsNotFinished, unless that is wanted. A store that is gone did not run.
func TestPluginThatRanAgainIsNotFinished(t *testing.T) {
	j := Job{Method: Import, From: "overlayzfs", To: "overlayzfs", Token: "old"}
	for token, ok := range map[string]bool{"old": true, "": true, "new": false} {
		tools := (&fakeStore{token: token}).tools()
		if err := j.checkPluginUnused(tools); (err == nil) != ok {
			t.Errorf("%q: %v", token, err)
		}
		if tools.Untried = true; j.checkPluginUnused(tools) != nil {
			t.Error("refused, though it is wanted")
		}
	}
}

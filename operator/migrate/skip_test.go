package migrate

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// newSkipHost returns the host of newVFSHost with a second image, whose own layer is lost.
func newSkipHost(t *testing.T) host {
	h := newVFSHost(t)
	base := h.layer("", "base", file{"etc/motd", "hello"}, file{"etc/gone", "x"})
	odd := h.layer(base, "odd", file{"odd", "odd"})
	names, err := os.ReadFile(h.path("image/vfs/repositories.json"))
	h.no(err)
	h.image("odd:latest", base, odd)
	more, err := os.ReadFile(h.path("image/vfs/repositories.json"))
	h.no(err)
	h.write("image/vfs/repositories.json", strings.Replace(string(names), "}}}", "},\"y\":{", 1)+strings.TrimPrefix(string(more), `{"Repositories":{"x":{`))
	return h
}

// TestSkip leaves an image out with its own layer, and nothing else.
func TestSkip(t *testing.T) {
	h, s := newSkipHost(t), &fakeStore{dir: t.TempDir()}
	before := h.everything()
	if err := h.run(h.copyJob(), s); !errors.Is(err, ErrUnfinished) || !strings.Contains(err.Error(), "of odd:latest") || !strings.Contains(err.Error(), "--skip") {
		t.Fatalf("a layer that cannot be read: %v", err)
	}
	p := h.planning(Request{From: "vfs", Skip: []string{"odd"}})
	p.plan.Resumed, p.plan.Job, p.records = true, Job{Method: Copy, Phase: Carrying, From: "vfs", To: "overlayzfs"}, h.records("vfs")
	h.no(p.planSkip())
	h.no(h.within(func(r *dataRoot) error {
		j, err := readJob(r)
		h.no(err)
		j.Skip = p.plan.Job.Skip
		return errors.Join(j.save(r), j.runPhases(t.Context(), r, s.tools()))
	}))
	h.carried(s) // one image, two layers
	if _, err := os.Stat(filepath.Join(s.dir, "odd")); err == nil {
		t.Error("its layer is in the store")
	}
	if names, err := os.ReadFile(h.path("image/overlayzfs/repositories.json")); err != nil || strings.Contains(string(names), "odd") || !strings.Contains(string(names), "x:latest") {
		t.Errorf("%s, %v", names, err)
	}
	h.no(Undo(t.Context(), h.dir, s.tools()))
	if diff := cmp.Diff(before, h.everything()); diff != "" {
		t.Errorf("after an undo, - before, + now:\n%s", diff)
	}
}

// TestSkipRefuses what would take something from a container.
func TestSkipRefuses(t *testing.T) {
	h := newSkipHost(t)
	records := h.records("vfs")
	var odd string
	for _, image := range records.Images {
		if image.Tags[0] == "odd:latest" {
			odd = image.ID.Encoded()
		}
	}
	for name, want := range map[string]error{"x:latest": fault.Invalid, "x": fault.Invalid, "nothing": fault.NotFound, "odd": nil, odd: nil, odd[:8]: nil, "sha256:" + odd: nil, odd[:2]: fault.NotFound} {
		ids, err := findSkipped(records, []string{name})
		if !errors.Is(err, want) || err == nil && (len(ids) != 1 || ids[0].Encoded() != odd) {
			t.Errorf("%q: %v, %v", name, ids, err)
		}
	}
	p := h.planning(Request{From: "vfs", Skip: []string{"odd"}})
	p.plan.Resumed, p.plan.Job, p.records = true, Job{Method: Copy, Phase: Switching}, records
	h.no(p.planSkip())
	if err := p.plan.CheckObstacles(); err == nil || !strings.Contains(err.Error(), "too late") {
		t.Errorf("%v", err)
	}
}

// TestAnUndoTakesContainersMadeSince: dockerd could not load them, and no command could
// remove them.
func TestAnUndoTakesContainersMadeSince(t *testing.T) {
	h, s := newVFSHost(t), &fakeStore{dir: t.TempDir()}
	before := h.everything()
	h.no(h.run(h.copyJob(), s))
	since := hexID("since")
	h.write("containers/"+since+"/config.v2.json", `{"ID":"`+since+`","Name":"/since","Driver":"overlayzfs"}`)
	h.write("containers/"+since+"/"+since+"-json.log", "log")
	h.no(Undo(t.Context(), h.dir, s.tools()))
	if diff := cmp.Diff(before, h.everything()); diff != "" {
		t.Errorf("- before, + now:\n%s", diff)
	}
	h.no(h.run(h.copyJob(), s))
	if gaps := h.records("overlayzfs").Gaps(); len(gaps) > 0 {
		t.Errorf("%v", gaps)
	}
}

// TestDefaultLimits are the plugin's afterwards, or are said to be lost.
func TestDefaultLimits(t *testing.T) {
	for _, tt := range []struct {
		from, option, says string
		leave, back        bool
	}{
		{"overlay2", "overlay2.size=1G", "overlay2.size=1G becomes overlayzfs.size=1G", false, false},
		{"overlay2", "Overlay2.Size = 1G", "becomes overlayzfs.size=1G", false, false},
		{"vfs", "size=2G", "size=2G becomes overlayzfs.size=2G", false, false},
		{"overlay2", "overlay2.size=1G", "overlay2.size=1G is lost unless you write overlayzfs.size=1G", true, false},
		{"overlay2", "overlay2.size=much", "overlay2.size=much is lost, because", false, false},
		{"zfs", "zfs.fsname=tank/x", "", false, false},
		{"overlayzfs", "overlayzfs.size=3G", "the plugin's default limit (overlayzfs.size=3G) is lost", false, true},
	} {
		h := newHost(t, tt.from)
		h.no(os.WriteFile(h.config, []byte(`{"storage-opts":["`+tt.option+`"]}`), 0o600))
		w := Request{From: tt.from, Config: h.config}
		if tt.leave {
			w.Config, w.ReadConfig = "", h.config
		}
		if tt.back {
			w.Back, w.PluginOptions = true, []string{tt.option}
		}
		p := h.planning(w)
		h.no(p.chooseDrivers())
		h.no(p.planConfig())
		notes := strings.Join(p.plan.Notes, "; ")
		if tt.says == "" && notes != "" || !strings.Contains(notes, tt.says) {
			t.Errorf("%+v: %q", tt, notes)
		}
		if strings.Contains(tt.says, "becomes") {
			h.no(p.plan.Job.switchConfig())
			if raw := string(h.loaded().Raw); !strings.Contains(raw, "overlayzfs.size=") || strings.Contains(strings.ToLower(raw), `"overlay2.size`) || strings.Contains(raw, `"size`) {
				t.Errorf("%+v: %s", tt, raw)
			}
			h.no(p.plan.Job.restoreConfig())
			if raw := string(h.loaded().Raw); raw != `{"storage-opts":["`+tt.option+`"]}` {
				t.Errorf("restored: %s", raw)
			}
		}
	}
}

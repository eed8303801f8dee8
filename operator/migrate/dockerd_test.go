package migrate

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// TestAContainerThatOutlivedDockerd has a process in its control group; a number that
// another process has by now is no container.
func TestAContainerThatOutlivedDockerd(t *testing.T) {
	h := newVFSHost(t)
	id := hexID("web")
	h.write("containers/"+id+"/config.v2.json", fmt.Sprintf(`{"State":{"Running":true,"Pid":77},"ID":%q,"Driver":"vfs"}`, id))
	proc := t.TempDir()
	group := filepath.Join(proc, "77/cgroup")
	h.no(os.Mkdir(filepath.Dir(group), 0o755))
	for content, busy := range map[string]bool{
		"": false, "0::/system.slice/cron.service\n": false,
		"0::/system.slice/docker-" + id + ".scope\n": true, "12:pids:/docker/" + id + "\n1:name=systemd:/docker/" + id + "\n": true,
	} {
		if content != "" {
			h.no(os.WriteFile(group, []byte(content), 0o600))
		} else {
			h.no(os.RemoveAll(group))
		}
		r, err := openDataRoot(h.dir)
		h.no(err)
		if err := r.requireStopped(proc); errors.Is(err, fault.Busy) != busy || !busy && err != nil {
			t.Errorf("with %q: %v", content, err)
		}
		h.no(r.Close())
	}
}

// TestAStoreInUse keeps every action from changing anything.
func TestAStoreInUse(t *testing.T) {
	h, s := newVFSHost(t), &fakeStore{dir: t.TempDir()}
	h.no(h.run(h.copyJob(), s))
	before := h.everything()
	s.busy = fault.New(fault.Busy, "somebody has it")
	p := &Plan{Root: h.dir, Job: *h.copyJob()}
	for name, act := range map[string]func() error{
		"forward": func() error { return p.Run(t.Context(), s.tools()) },
		"undo":    func() error { return Undo(t.Context(), h.dir, s.tools()) },
		"finish":  func() error { return Finish(t.Context(), h.dir, s.tools()) },
	} {
		if err := act(); !errors.Is(err, fault.Busy) || !strings.Contains(err.Error(), "live-restore") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(h.everything()) != len(before) {
		t.Error("something was changed")
	}
}

// TestASymlinkToTheDataRoot is followed once: mounts have its real name.
func TestASymlinkToTheDataRoot(t *testing.T) {
	h := newVFSHost(t)
	link := filepath.Join(t.TempDir(), "docker")
	h.no(os.Symlink(h.dir, link))
	r, err := openDataRoot(link)
	h.no(err)
	defer r.Close()
	w := Request{Root: link, Home: link + "/plugins/x/overlayzfs"}
	h.no(w.resolve(r))
	if r.Name() != h.dir || w.Root != h.dir || w.Home != h.path("plugins/x/overlayzfs") {
		t.Errorf("%s, %+v", r.Name(), w)
	}
}

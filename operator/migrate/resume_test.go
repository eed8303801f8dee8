package migrate

import (
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// TestAResumedPlanCountsTheCurrentRecords is what Docker has now, under the driver
// that it has it with: containers are not lost because their records were switched.
func TestAResumedPlanCountsTheCurrentRecords(t *testing.T) {
	h, s := newVFSHost(t), &fakeStore{dir: t.TempDir()}
	looked := func(a Action, driver string) {
		t.Helper()
		plan, err := MakePlan(Request{Root: h.dir, Driver: "overlayzfs", Action: a})
		h.no(err)
		if !plan.Resumed || plan.Driver != driver || plan.Images != 1 || plan.Layers != 6 || plan.Containers != 2 {
			t.Errorf("%q: %d images, %d containers, %d layers of %s", a, plan.Images, plan.Containers, plan.Layers, plan.Driver)
		}
	}
	s.refuse = "top"
	if err := h.run(h.copyJob(), s); err == nil {
		t.Fatal("it was not cut short")
	}
	looked(ActionMigrate, "vfs")
	s.refuse = ""
	h.no(h.run(h.copyJob(), s))
	looked(ActionFinish, "overlayzfs")
	looked(ActionUndo, "overlayzfs")
	h.no(h.within(func(r *dataRoot) error { // one of two was switched back when an undo was cut short
		j, err := readJob(r)
		h.no(err)
		h.no(j.enterPhase(r, Undoing))
		return r.setDrivers("overlayzfs", "vfs", func(id string) (bool, error) { return id == hexID("web"), nil }, nil)
	}))
	looked(ActionUndo, "vfs")
}

// TestPhasesAllowActions: the error of a refused action names the command to run instead, and
// no other remedy.
func TestPhasesAllowActions(t *testing.T) {
	reclaimed := []string{"layer"}
	for _, tt := range []struct {
		action    Action
		phase     Phase
		reclaimed []string
		says      string // empty: it is allowed
	}{
		{ActionMigrate, Carrying, nil, ""},
		{ActionMigrate, Switching, reclaimed, ""},
		{ActionMigrate, Configuring, nil, ""},
		{ActionMigrate, Done, nil, "revert it with `overlayzfs migrate --undo`"},
		{ActionMigrate, Undoing, nil, "an undo was interrupted: continue it with `overlayzfs migrate --undo`"},
		{ActionMigrate, Finishing, nil, "finishing a migration was interrupted: continue with `overlayzfs migrate --finish`"},
		{ActionUndo, Carrying, nil, ""},
		{ActionUndo, Carrying, reclaimed, "`overlayzfs migrate --back` afterwards"},
		{ActionUndo, Done, nil, ""},
		{ActionUndo, Undoing, nil, ""},
		{ActionUndo, Finishing, nil, "continue with `overlayzfs migrate --finish`"},
		{ActionFinish, Carrying, nil, "continue it with `overlayzfs migrate --from vfs --driver overlayzfs`"},
		{ActionFinish, Undoing, nil, "an undo was interrupted: continue it with `overlayzfs migrate --undo`"},
		{ActionFinish, Done, reclaimed, ""},
		{ActionFinish, Finishing, reclaimed, ""},
	} {
		j := &Job{From: "vfs", To: "overlayzfs", Phase: tt.phase, Reclaimed: tt.reclaimed}
		err := j.checkAction(tt.action)
		if (err == nil) != (tt.says == "") || err != nil && !strings.HasSuffix(fault.Text(err), tt.says) {
			t.Errorf("%q in phase %s: %v", tt.action, tt.phase, err)
		}
	}
}

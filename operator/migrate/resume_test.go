package migrate

import "testing"

// TestWhatIsCountedOfAMigrationThatWasBegun is what Docker has now, under the driver
// that it has it with: containers are not lost because their records were switched.
func TestWhatIsCountedOfAMigrationThatWasBegun(t *testing.T) {
	h, s := onVFS(t), &shelf{dir: t.TempDir()}
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
		return r.setDrivers("overlayzfs", "vfs", func(id string) bool { return id == hexID("web") })
	}))
	looked(ActionUndo, "vfs")
}

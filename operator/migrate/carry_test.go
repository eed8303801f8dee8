package migrate

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// copyJob is a migration from vfs as Look plans it.
func (h host) copyJob() *Job {
	h.Helper()
	return &Job{Method: Copy, From: "vfs", To: "overlayzfs", Layers: "vfs", Dataset: "tank/layers", Config: h.config, ConfigWas: h.configWas()}
}

// run carries out a job, or goes on with it.
func (h host) run(j *Job, s *fakeStore) error {
	h.Helper()
	return h.within(func(r *dataRoot) error {
		if known, err := readJob(r); err != nil || known != nil {
			if err != nil {
				return err
			}
			j = known
		}
		if err := j.startJob(r, s.tools()); err != nil {
			return err
		}
		return markUnfinished(j.runPhases(h.Context(), r, s.tools()))
	})
}

// carried checks what the store holds and Docker's records say after a copy.
func (h host) carried(s *fakeStore) {
	h.Helper()
	for name, want := range map[string]string{
		"base/etc/motd": "hello", "base/etc/gone": "x", "top/etc/motd": "changed", "top/usr/bin/tool": "tool",
		hexID("mount of web") + "/data/web": "web's", hexID("mount of db") + "/data/db": "db's",
	} {
		got, err := os.ReadFile(filepath.Join(s.dir, name))
		if err != nil || string(got) != want {
			h.Errorf("%s holds %q, %v; want %q", name, got, err, want)
		}
	}
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(s.dir, hexID("mount of web"), "etc/gone"), &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != 0 {
		h.Errorf("a deleted file is no whiteout: %v %o %d", err, st.Mode, st.Rdev)
	}
	for _, same := range []string{"top/etc/gone", hexID("mount of web") + "/usr", hexID("mount of web") + "-init/etc"} {
		if _, err := os.Lstat(filepath.Join(s.dir, same)); err == nil {
			h.Errorf("%s was carried, though it is in a layer below", same)
		}
	}
	records := h.records("overlayzfs")
	if len(records.Images) != 1 || len(records.Layers) != 2 || len(records.Containers) != 2 || len(records.Mounts) != 2 || len(records.Damaged) > 0 {
		h.Errorf("records: %+v", records)
	}
	if diff := cmp.Diff(h.daemonJSON(`["keep=2"]`, "overlayzfs", ",\n\t\"experimental\": true"), string(h.loaded().Raw)); diff != "" {
		h.Errorf("daemon.json, - wanted, + got:\n%s", diff)
	}
	if _, err := os.Stat(h.path("buildkit")); err == nil {
		h.Error("BuildKit's cache still names layers that were not carried")
	}
}

func TestCopy(t *testing.T) {
	h := newVFSHost(t)
	before, s := h.everything(), &fakeStore{dir: t.TempDir()}
	h.no(h.run(h.copyJob(), s))
	h.carried(s)
	if err := h.run(h.copyJob(), s); !errors.Is(err, fault.Exists) || !strings.Contains(err.Error(), "--finish") {
		t.Errorf("once more: %v", err)
	}
	h.no(Undo(t.Context(), h.dir, s.tools()))
	if diff := cmp.Diff(before, h.everything()); diff != "" {
		t.Errorf("after an undo, - before, + now:\n%s", diff)
	}
	if left, err := s.Layers(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("the store still holds %q, %v", left, err)
	}
}

func TestFinish(t *testing.T) {
	h, s := newVFSHost(t), &fakeStore{dir: t.TempDir()}
	if err := Finish(t.Context(), h.dir, (&fakeStore{}).tools()); !errors.Is(err, fault.NotFound) {
		t.Errorf("without a migration: %v", err)
	}
	h.no(h.run(h.copyJob(), s))
	s.token = "of a start"
	h.no(Finish(t.Context(), h.dir, s.tools()))
	h.carried(s)
	for _, old := range []string{"vfs", "image/vfs", workDir} {
		if _, err := os.Stat(h.path(old)); err == nil {
			t.Errorf("%s is left", old)
		}
	}
	if err := Undo(t.Context(), h.dir, s.tools()); !errors.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "--back") {
		t.Errorf("undone though finished: %v", err)
	}
}

// TestCutShort stops while layers are carried; containers run in between.
func TestCutShort(t *testing.T) {
	for _, at := range []string{"base", "top", hexID("mount of db") + "-init", hexID("mount of web")} {
		h := newVFSHost(t)
		s := &fakeStore{dir: t.TempDir(), refuse: at}
		if err := h.run(h.copyJob(), s); !errors.Is(err, ErrUnfinished) || !strings.Contains(err.Error(), "takes nothing") {
			t.Fatalf("%v", err)
		}
		if _, err := os.Stat(h.path("image/overlayzfs")); err == nil {
			t.Error("records were switched before all layers were carried")
		}
		h.write("vfs/dir/"+hexID("mount of db")+"/data/later", "written in between")
		s.refuse = ""
		h.no(h.run(h.copyJob(), s))
		h.carried(s)
		if raw, err := os.ReadFile(filepath.Join(s.dir, hexID("mount of db"), "data/later")); err != nil || len(raw) == 0 {
			t.Errorf("what a container wrote in between is lost: %v", err)
		}
	}
}

// TestWritesThatHideAreCarried: of the size and time that were there before.
func TestWritesThatHideAreCarried(t *testing.T) {
	h, s := newVFSHost(t), &fakeStore{dir: t.TempDir()}
	name := "vfs/dir/" + hexID("mount of web") + "/usr/bin/tool"
	info, err := os.Stat(h.path(name))
	h.no(err)
	h.write(name, "TOOL")
	h.no(os.Chtimes(h.path(name), info.ModTime(), info.ModTime()))
	h.no(h.run(h.copyJob(), s))
	if raw, err := os.ReadFile(filepath.Join(s.dir, hexID("mount of web"), "usr/bin/tool")); err != nil || string(raw) != "TOOL" {
		t.Errorf("%q, %v", raw, err)
	}
}

// TestAChangedImageIsCarriedAsItWas: it ends no migration, and the operator is told.
func TestAChangedImageIsCarriedAsItWas(t *testing.T) {
	tool := "usr/bin/tool"
	for name, spoil := range map[string]func(h host){
		"TOOL": func(h host) { h.write("vfs/dir/top/"+tool, "TOOL") },
		"":     func(h host) { h.no(os.Remove(h.path("vfs/dir/top/" + tool))) },
		"/etc/passwd": func(h host) {
			h.no(os.Remove(h.path("vfs/dir/top/" + tool)))
			h.no(os.Symlink("/etc/passwd", h.path("vfs/dir/top/"+tool)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			h, s := newVFSHost(t), &fakeStore{dir: t.TempDir()}
			spoil(h)
			before := h.everything()
			h.no(h.run(h.copyJob(), s))
			if len(s.notes) != 2 || !strings.Contains(s.notes[0], "of x:latest was carried as a tree") || !strings.Contains(s.notes[1], "is not what Docker recorded, and was not before") {
				t.Errorf("%q", s.notes)
			}
			got, err := os.ReadFile(filepath.Join(s.dir, "top", tool))
			if target, linkErr := os.Readlink(filepath.Join(s.dir, "top", tool)); linkErr == nil {
				got, err = []byte(target), nil
			}
			if string(got) != name || (err != nil) != (name == "") {
				t.Errorf("%q, %v", got, err)
			}
			if _, err := os.Lstat(filepath.Join(s.dir, "top/etc/gone")); err == nil {
				t.Error("what is in the layer below was carried")
			}
			h.no(Undo(t.Context(), h.dir, s.tools()))
			if diff := cmp.Diff(before, h.everything()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestADamagedRecordEndsNoMigration: the layer is carried as a tree, and the operator is told.
func TestADamagedRecordEndsNoMigration(t *testing.T) {
	for what, spoil := range map[string]func(record []byte) []byte{
		"cut":     func(record []byte) []byte { return record[:len(record)-12] },
		"changed": func(record []byte) []byte { record[len(record)-6] ^= 1; return record },
		"empty":   func([]byte) []byte { return nil },
	} {
		t.Run(what, func(t *testing.T) {
			h, s := newVFSHost(t), &fakeStore{dir: t.TempDir()}
			records, err := filepath.Glob(h.path("image/vfs/layerdb/sha256/*/tar-split.json.gz"))
			h.no(err)
			for _, name := range records {
				record, err := os.ReadFile(name)
				h.no(err)
				h.no(os.WriteFile(name, spoil(record), 0o600))
			}
			h.no(h.run(h.copyJob(), s))
			h.carried(s)
			if text := strings.Join(s.notes, "\n"); strings.Count(text, "was carried as a tree") != 2 || strings.Count(text, "is not proven by Docker's record") != 2 {
				t.Errorf("%q", s.notes)
			}
		})
	}
}

// TestSomebodyElsesLayers are neither removed nor mixed with.
func TestSomebodyElsesLayers(t *testing.T) {
	h, s := newVFSHost(t), &fakeStore{dir: t.TempDir()}
	before := h.everything()
	h.no(os.Mkdir(filepath.Join(s.dir, "theirs"), 0o755))
	for range 2 {
		if err := h.run(h.copyJob(), s); !errors.Is(err, fault.Exists) || !strings.Contains(err.Error(), "theirs") {
			t.Errorf("%v", err)
		}
	}
	h.no(Undo(t.Context(), h.dir, s.tools()))
	if left, err := s.Layers(t.Context()); err != nil || len(left) != 1 {
		t.Errorf("the store holds %q, %v", left, err)
	}
	if diff := cmp.Diff(before, h.everything()); diff != "" {
		t.Error(diff)
	}
}

// TestLeftoversOfAnEndAreNotReused: the power was cut between the removal of
// the journal and that of what BuildKit had.
func TestLeftoversOfAnEndAreNotReused(t *testing.T) {
	h, s := newVFSHost(t), &fakeStore{dir: t.TempDir()}
	before := h.everything()
	h.write(buildsName+"/metadata.db", "of long ago")
	h.no(h.run(h.copyJob(), s))
	h.no(Undo(t.Context(), h.dir, s.tools()))
	if diff := cmp.Diff(before, h.everything()); diff != "" {
		t.Errorf("after an undo, - before, + now:\n%s", diff)
	}
}

// TestRecordsThatBrokeInBetween are not copied.
func TestRecordsThatBrokeInBetween(t *testing.T) {
	h := newVFSHost(t)
	s := &fakeStore{dir: t.TempDir(), refuse: "top"}
	if err := h.run(h.copyJob(), s); !errors.Is(err, ErrUnfinished) {
		t.Fatal(err)
	}
	s.refuse = ""
	h.write("image/vfs/layerdb/sha256/x/diff", "x")
	if err := h.run(nil, s); !errors.Is(err, ErrUnfinished) || !strings.Contains(err.Error(), "cannot read a record") {
		t.Errorf("%v", err)
	}
}

// TestAStoreUsedInBetween is not carried into again.
func TestAStoreUsedInBetween(t *testing.T) {
	h := newVFSHost(t)
	s := &fakeStore{dir: t.TempDir(), refuse: "top"}
	if err := h.run(h.copyJob(), s); !errors.Is(err, ErrUnfinished) {
		t.Fatal(err)
	}
	s.refuse, s.token = "", "another"
	if err := h.run(nil, s); !errors.Is(err, fault.Exists) || !strings.Contains(err.Error(), "--undo") {
		t.Errorf("%v", err)
	}
	h.no(Undo(t.Context(), h.dir, s.tools()))
}

func TestReclaim(t *testing.T) {
	h := newVFSHost(t)
	s := &fakeStore{dir: t.TempDir(), refuse: hexID("mount of web")}
	j := h.copyJob()
	j.Reclaim = true
	if err := h.run(j, s); !errors.Is(err, ErrUnfinished) {
		t.Fatal(err)
	}
	for _, needed := range []string{"base", "top", hexID("mount of web")} {
		if _, err := os.Stat(h.path("vfs/dir/" + needed)); err != nil {
			t.Errorf("deleted before what stands on it was carried: %v", err)
		}
	}
	s.refuse = ""
	h.reclaimed("lost")
	if err := h.run(j, s); !errors.Is(err, fault.NotFound) {
		t.Errorf("a layer of which nothing is left: %v", err)
	}
	h.reclaimed()
	h.no(h.run(j, s))
	h.carried(s)
	if left, err := os.ReadDir(h.path("vfs/dir")); err != nil || len(left) > 0 {
		t.Errorf("left of the old layers: %v, %v", left, err)
	}
	if err := Undo(t.Context(), h.dir, s.tools()); !errors.Is(err, fault.Unsupported) {
		t.Errorf("undone: %v", err)
	}
	s.token = "of a start"
	h.no(Finish(t.Context(), h.dir, s.tools()))
}

// reclaimed writes into the journal which layers were, besides those that were.
func (h host) reclaimed(ids ...string) {
	h.Helper()
	h.no(h.within(func(r *dataRoot) error {
		j, err := readJob(r)
		h.no(err)
		j.Reclaimed = slices.DeleteFunc(j.Reclaimed, func(id string) bool { return id == "lost" })
		j.Reclaimed = append(j.Reclaimed, ids...)
		return j.save(r)
	}))
}

// TestARunningEngineIsRefused: dockerd has the volumes' database locked.
func TestARunningEngineIsRefused(t *testing.T) {
	h, s := newVFSHost(t), &fakeStore{dir: t.TempDir()}
	f, err := os.Open(h.path("volumes/metadata.db"))
	h.no(err)
	defer f.Close()
	h.no(unix.Flock(int(f.Fd()), unix.LOCK_EX))
	if err := h.run(h.copyJob(), s); !errors.Is(err, fault.Busy) || s.opened > 0 {
		t.Errorf("%v", err)
	}
}

// TestDirectoriesBehindSymlinks: the administrator moved them to another disk. Docker follows
// them, and so does the migration; the symlinks stay.
func TestDirectoriesBehindSymlinks(t *testing.T) {
	h, s := newVFSHost(t), &fakeStore{dir: t.TempDir()}
	elsewhere := t.TempDir()
	for _, name := range []string{"vfs", "volumes"} {
		h.no(os.Rename(h.path(name), filepath.Join(elsewhere, name)))
		h.no(os.Symlink(filepath.Join(elsewhere, name), h.path(name)))
	}
	f, err := os.Open(h.path("volumes/metadata.db"))
	h.no(err)
	h.no(unix.Flock(int(f.Fd()), unix.LOCK_EX))
	if err := h.run(h.copyJob(), s); !errors.Is(err, fault.Busy) {
		t.Errorf("while dockerd runs: %v", err)
	}
	h.no(f.Close())
	h.no(h.run(h.copyJob(), s))
	h.carried(s)
	s.token = "of a start"
	h.no(Finish(t.Context(), h.dir, s.tools()))
	if left, err := os.ReadDir(filepath.Join(elsewhere, "vfs")); err != nil || len(left) > 0 {
		t.Errorf("left of the old layers: %v, %v", left, err)
	}
	if target, err := os.Readlink(h.path("vfs")); err != nil || target != filepath.Join(elsewhere, "vfs") {
		t.Errorf("the symlink: %q, %v", target, err)
	}
}

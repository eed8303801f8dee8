//go:build vm

package overlayzfs

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/quota"
)

// Each test leaves the store as a process does that is killed at one instruction. The next start
// has to recover it.

func TestALayerThatWasBeingMadeIsGone(t *testing.T) {
	d := openStore(t)
	create(t, d, "base", "")
	change(t, d, "base", func(string) {})
	lowers, err := d.home.layer("base").stackForChild()
	must(t, err)
	// Killed before the rename that publishes it: short link made or not.
	must(t, d.fillStage(quota.Layer{Key: shortA, Dir: d.home.privatePath(newDir, shortA)}, "never", lowers, quota.Spec{}))
	must(t, d.fillStage(quota.Layer{Key: shortB, Dir: d.home.privatePath(newDir, shortB)}, "never", lowers, quota.Spec{}))
	must(t, os.Symlink("../never/diff", d.home.path(linkDir, shortB)))
	must(t, d.fillStage(quota.Layer{Key: shortC, Dir: d.home.privatePath(newDir, shortC)}, "never", lowers, quota.Spec{}))
	must(t, os.Symlink("../never/diff", d.home.path(linkDir, shortC)))
	must(t, os.Truncate(d.home.privatePath(newDir, shortC, linkName), 0)) // by a power cut
	must(t, ensureFile(d.home.buildingMark("never")))
	must(t, ensureFile(d.home.buildingMark(linkDir))) // somebody else's: it names no layer
	d = crash(t, d)
	must(t, os.Remove(d.home.buildingMark(linkDir)))
	requireTidy(t, d, "base")
}

// TestALayerThatNeverGotContentIsKept is about BuildKit, which records a layer when it is
// created. A diff for the layer could only be the rest of a stream.
func TestALayerThatNeverGotContentIsKept(t *testing.T) {
	d := openStore(t)
	create(t, d, "base", "")
	change(t, d, "base", func(string) {})
	create(t, d, "empty", "base")
	for range 2 { // and the next start changes nothing
		d = crash(t, d)
		if !exists(t, d, "empty") {
			t.Fatal("it is gone")
		}
		_, err := d.ApplyDiff(context.Background(), "empty", "base", bytes.NewReader(archive(t, "rest")))
		if !errors.Is(err, fault.Interrupted) {
			t.Errorf("a diff whose beginning went to the process before: %v", err)
		}
	}
	change(t, d, "empty", func(dir string) { write(t, dir+"/file", "x") })
	remove(t, d, "empty")
	requireTidy(t, d, "base")
}

// TestAMarkWithoutALayerIsGone is about a Create that ended before it made the layer.
func TestAMarkWithoutALayerIsGone(t *testing.T) {
	d := openStore(t)
	must(t, ensureFile(d.home.buildingMark("never")))
	d = crash(t, d)
	if left := list(t, d.home.privatePath(mutableDir)); len(left) > 0 {
		t.Errorf("marks are left: %q", left)
	}
	requireTidy(t, d)
}

// TestALayerThatNobodyComesBackForIsGone is about dockerd, which records a layer only when it has
// content.
func TestALayerThatNobodyComesBackForIsGone(t *testing.T) {
	d := openStore(t)
	create(t, d, "base", "")
	change(t, d, "base", func(string) {})
	create(t, d, "empty", "base")
	create(t, d, "kept", "base")
	d = crashTo(t, d, Options{MayResume: func(id string) bool { return id == "kept" }})
	if exists(t, d, "empty") || !exists(t, d, "kept") {
		t.Errorf("empty: %t, kept: %t", exists(t, d, "empty"), exists(t, d, "kept"))
	}
	remove(t, d, "kept")
	requireTidy(t, d, "base")
}

// TestStraysGoWhenTheHostComesUp makes sure that stray layers are removed after a boot of the
// host, and only then.
func TestStraysGoWhenTheHostComesUp(t *testing.T) {
	o := testOptions
	o.IsStray = func(id string, exists func(string) bool) bool {
		of, ok := strings.CutSuffix(id, "-init")
		return ok && !exists(of)
	}
	d := openStoreIn(t, filepath.Join(t.TempDir(), "home"), o)
	for _, id := range []string{"a-init", "a", "b-init"} {
		must(t, d.Create(context.Background(), id, "", CreateOptions{ReadWrite: true}))
	}
	d = crashTo(t, d, o)
	if !exists(t, d, "b-init") {
		t.Error("a stray went while its caller may be making the rest")
	}
	must(t, os.WriteFile(d.home.privatePath(bootIDFile), []byte("the boot before"), 0o600))
	d = crashTo(t, d, o)
	requireTidy(t, d, "a", "a-init")
}

// TestTornLayersAreRemoved has layers whose names were in the intent log, and whose files'
// content was not. A layer with content is not one of them.
func TestTornLayersAreRemoved(t *testing.T) {
	o := testOptions
	o.MayBeTorn = func(id string, exists func(string) bool) bool { return id != "image" && exists("base") }
	d := openStoreIn(t, filepath.Join(t.TempDir(), "home"), o)
	create(t, d, "base", "")
	for _, id := range []string{"nolink", "nolower", "whole", "content"} {
		must(t, d.Create(context.Background(), id, "base", CreateOptions{ReadWrite: true}))
	}
	create(t, d, "building", "base")
	create(t, d, "step", "base")
	change(t, d, "step", func(string) {})
	change(t, d, "content", func(dir string) { write(t, dir+"/file", "x") })
	for _, id := range []string{"nolink", "building", "step", "content"} {
		must(t, os.Truncate(d.home.path(id, linkName), 0))
	}
	must(t, os.Truncate(d.home.path("nolower", lowerName), 0))
	must(t, os.Symlink("../never/diff", d.home.path(linkDir, shortA)))
	nextBoot(t, d)
	d = crashTo(t, d, o)
	requireTidy(t, d, "base", "whole", "content")
}

// nextBoot makes the next start of the store the first one after a boot of the host.
func nextBoot(t *testing.T, d *Driver) {
	t.Helper()
	must(t, os.WriteFile(d.home.privatePath(bootIDFile), []byte("the boot before"), 0o600))
}

// TestAStartAfterABootLooksIntoNoImageLayer: its cost would grow with their number. A torn
// image layer, which does not exist, tells whether it was looked into.
func TestAStartAfterABootLooksIntoNoImageLayer(t *testing.T) {
	d := openStore(t)
	create(t, d, "image", "")
	apply(t, d, "image", "", archive(t))
	must(t, os.Truncate(d.home.path("image", linkName), 0))
	nextBoot(t, d)
	d = crash(t, d)
	if !exists(t, d, "image") {
		t.Error("it was looked into")
	}
}

// TestTornLayersOfADoorWithRecords: the door names the layers that may be torn.
func TestTornLayersOfADoorWithRecords(t *testing.T) {
	d := openOutside(t, filepath.Join(t.TempDir(), "home"))
	for _, id := range []string{"1", "2", "3"} {
		mine(t, d, id, "", nil)
	}
	must(t, os.Truncate(d.home.path("1", linkName), 0))
	must(t, os.Truncate(d.home.path("2", linkName), 0))
	write(t, d.home.path("2", diffName, "file"), "x")
	removed, err := d.RemoveTorn(t.Context(), []string{"1", "2", "3", "4"})
	if !slices.Equal(removed, []string{"1"}) || !errors.Is(err, fault.Exists) {
		t.Errorf("removed %q, %v", removed, err)
	}
}

func TestALayerWhoseDiffWasBeingAppliedIsGone(t *testing.T) {
	d := openStore(t)
	create(t, d, "base", "")
	other, err := readShortName(d.home.layer("base").dir())
	must(t, err)
	change(t, d, "base", func(string) {})
	create(t, d, "half", "base")
	stage := d.home.applyPath("half")
	must(t, os.Mkdir(stage, 0o755))
	write(t, stage+"/some/file", "x")
	// Content may look like our own files, and must not be trusted.
	write(t, stage+"/link", other)
	d = crash(t, d)
	requireTidy(t, d, "base")
	if _, err := os.Lstat(d.home.path(linkDir, other)); err != nil {
		t.Errorf("the base's short link: %v", err)
	}
}

// A container's layer is kept in any case. But it is not given the rest of a stream whose
// beginning is lost.
func TestAContainersLayerIsKeptAfterACutDiff(t *testing.T) {
	d := openStore(t)
	must(t, d.Create(context.Background(), "container", "", CreateOptions{ReadWrite: true}))
	write(t, d.home.applyPath("container")+"/half", "x")
	d = crash(t, d)
	if left := list(t, d.home.applyPath("container")); len(left) > 0 {
		t.Errorf("unpacked content remains: %q", left)
	}
	_, err := d.ApplyDiff(context.Background(), "container", "", bytes.NewReader(archive(t, "a")))
	if !errors.Is(err, fault.Interrupted) {
		t.Errorf("the rest of a stream: %v", err)
	}
	remove(t, d, "container")
	requireTidy(t, d)
}

func TestALayerThatWasBeingRemovedIsGone(t *testing.T) {
	d := openStore(t)
	create(t, d, "base", "")
	change(t, d, "base", func(dir string) { write(t, dir+"/a/b", "x") })
	create(t, d, "victim", "base")
	change(t, d, "victim", func(dir string) { write(t, dir+"/a/b", "y") })
	must(t, publish(d.home.layer("victim").dir(), d.home.privatePath(trashDir, shortA)))
	d = crash(t, d)
	requireTidy(t, d, "base")
}

func TestAnsweredCallsSurvive(t *testing.T) {
	ctx := context.Background()
	d := openStore(t)
	create(t, d, "applied", "")
	apply(t, d, "applied", "", archive(t, "a"))
	create(t, d, "parent", "applied")
	create(t, d, "child", "parent")
	change(t, d, "child", func(string) {})
	create(t, d, "diffed", "applied")
	readAll(t, d, "diffed", "applied")
	must(t, d.Create(ctx, "container", "applied", CreateOptions{ReadWrite: true}))
	d = crash(t, d)
	want := []string{"applied", "parent", "child", "diffed", "container"}
	for _, id := range want {
		if !exists(t, d, id) {
			t.Errorf("%s is gone", id)
		}
	}
	requireTidy(t, d, want...)
}

func TestRestartBeginsANewSession(t *testing.T) {
	d := openStore(t)
	create(t, d, "base", "")
	change(t, d, "base", func(string) {})
	create(t, d, "top", "base")
	dir := get(t, d, "top")
	get(t, d, "top")
	get(t, d, "top")
	must(t, d.Restart(context.Background()))
	put(t, d, "top") // the old dockerd's three references are one now
	requireMounted(t, dir, false)
}

func TestCleanupUnmountsAll(t *testing.T) {
	d, dir := mountedTop(t)
	get(t, d, "top")
	must(t, d.Cleanup(context.Background()))
	requireMounted(t, dir, false)
	get(t, d, "top")
	put(t, d, "top")
	requireMounted(t, dir, false)
}

func TestOneProcessAtATime(t *testing.T) {
	d := openStore(t)
	if _, err := Open(context.Background(), string(d.home), Options{}); !errors.Is(err, fault.Busy) {
		t.Errorf("a second process: %v", err)
	}
}

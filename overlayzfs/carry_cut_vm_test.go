//go:build vm

package overlayzfs

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/quota"
)

// countdown is a context that calls end, once, when it was looked at that often. A walk looks
// at its context for each entry.
type countdown struct {
	context.Context
	looks int
	end   func()
}

func (c *countdown) Err() error {
	if c.looks--; c.looks == 0 {
		c.end()
	}
	return nil
}

// carryBox gives the layer "box" a limit, and calls end at one of the looks of the copy. It
// returns how often the copy looked.
func carryBox(d *Driver, looks int, end func()) (looked int, err error) {
	ctx := &countdown{Context: context.Background(), looks: looks, end: end}
	err = d.carry(ctx, d.home.layer("box"), quota.Spec{Limits: Limits{Bytes: 50 * mib}})
	return looks - ctx.looks, err
}

// makeBox makes a container without a limit, "box", with one file.
func makeBox(t *testing.T, d *Driver) {
	t.Helper()
	limited(t, d, "box")
	change(t, d, "box", func(dir string) { write(t, dir+"/data/file", "content") })
}

func requireBox(t *testing.T, d *Driver, file, want string) {
	t.Helper()
	change(t, d, "box", func(dir string) {
		if raw, err := os.ReadFile(filepath.Join(dir, "data", file)); err != nil || string(raw) != want {
			t.Errorf("data/%s holds %q, %v", file, raw, err)
		}
	})
}

// TestAFileThatChangesIsNotLost writes to the layer's directory at each look of a copy. It does
// so through a descriptor, as a mount does that was made before. The last walk is left out: it
// begins when no mount is left that could write.
func TestAFileThatChangesIsNotLost(t *testing.T) {
	d := limitedStore(t, "changing")
	makeBox(t, d)
	walk := &countdown{Context: context.Background(), looks: math.MaxInt}
	_, err := fingerprints{maphash.MakeSeed()}.of(walk, d.home.layer("box").diff())
	must(t, err)
	all, err := carryBox(d, math.MaxInt, nil)
	must(t, err)
	requireBox(t, d, "file", "content")
	given, refused := 0, 0
	for looks := 1; looks <= all-(math.MaxInt-walk.looks); looks += 2 {
		remove(t, d, "box")
		makeBox(t, d)
		dir, err := os.Open(d.home.layer("box").diff())
		must(t, err)
		_, err = carryBox(d, looks, func() {
			write(t, fmt.Sprintf("/proc/self/fd/%d/data/late", dir.Fd()), strconv.Itoa(looks))
		})
		must(t, dir.Close())
		switch {
		case err == nil:
			given++
		case errors.Is(err, fault.Busy):
			refused++
		default:
			t.Fatalf("look %d of %d: %v", looks, all, err)
		}
		requireBox(t, d, "late", strconv.Itoa(looks))
		requireBox(t, d, "file", "content")
	}
	if given == 0 || refused == 0 {
		t.Errorf("%d copies were made, %d given up", given, refused)
	}
	remove(t, d, "box")
	requireTidy(t, d, "base")
}

// The environment by which a process is told to give a limit, and to kill itself on the way.
const (
	victimHome    = "OVERLAYZFS_VICTIM_HOME"
	victimDataset = "OVERLAYZFS_VICTIM_DATASET"
	victimLook    = "OVERLAYZFS_VICTIM_LOOK"
)

// victim is the process that is killed. It ends with 0 when the copy looks less often.
func victim() int {
	o := testOptions
	o.Dataset = os.Getenv(victimDataset)
	looks, err := strconv.Atoi(os.Getenv(victimLook))
	if err == nil {
		err = runVictim(os.Getenv(victimHome), o, looks)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func runVictim(home string, o Options, looks int) error {
	d, err := Open(context.Background(), home, o)
	if err != nil {
		return err
	}
	_, err = carryBox(d, looks, func() { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL) })
	return errors.Join(err, d.Close())
}

// TestACopyIsKilled kills a process at the looks of a copy. The next start finishes or undoes it.
func TestACopyIsKilled(t *testing.T) {
	d := limitedStore(t, "killed")
	o := testOptions
	o.Dataset = d.dataset
	given, undone := 0, 0
	for looks, killed := 1, true; killed; looks += 3 { // each takes some seconds
		makeBox(t, d)
		closeStore(t, d)
		killed = killCopy(t, d, looks)
		d = openStoreIn(t, string(d.home), o)
		must(t, d.WaitReaper(t.Context()))
		switch made := children(t, d); len(made) {
		case 0:
			undone++
			requireLimit(t, d, nil)
			requireTidy(t, d, "base", "box")
		case 1:
			given++
			requireLimit(t, d, &Limits{Bytes: 50 * mib})
			requireTidyWithLimit(t, d)
		default:
			t.Errorf("look %d: %q", looks, made)
		}
		requireBox(t, d, "file", "content")
		remove(t, d, "box")
		must(t, d.WaitReaper(t.Context()))
	}
	if given < 2 || undone < 2 { // the last one was not killed
		t.Errorf("%d copies were finished, %d undone", given, undone)
	}
}

// killCopy reports whether the process was killed.
func killCopy(t *testing.T, d *Driver, looks int) bool {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victimHome+"="+string(d.home), victimDataset+"="+d.dataset, victimLook+"="+strconv.Itoa(looks))
	cmd.Stderr = os.Stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || !exit.Sys().(syscall.WaitStatus).Signaled()) {
		t.Fatal(err)
	}
	return err != nil
}

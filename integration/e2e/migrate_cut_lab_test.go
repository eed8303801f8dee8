//go:build lab

package e2e

import (
	"bytes"
	"flag"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/vm"
)

var cuts = flag.Int("cuts", 3, "how often the power is cut")

// longestDelay and longestDelayEmulated are the latest moment of a power cut after a machine
// has begun to migrate. They cover a migration and its undo, on an emulated machine too. A
// faster machine repeats both until the cut, so that every delay hits something.
const (
	longestDelay         = 15 * time.Second
	longestDelayEmulated = 40 * time.Second
)

// TestMigrationIsCut cuts the power of machines during a migration from moby's zfs
// driver, and during its undo. Run it after `make build plugin` with
//
// go test -tags lab -timeout 0 ./e2e -run TestMigrationIsCut -args -cuts 20
func TestMigrationIsCut(t *testing.T) {
	l := newCutLab(t)
	l.stage(t, "prepare")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	for n := range *cuts {
		after := time.Duration(random.Int64N(int64(l.longest)))
		l.cut(t, after)
		t.Logf("cut %d after %v", n+1, after)
	}
	l.stage(t, "check")
}

// cutLab is a guest, a pool that survives its machines, and the test program that runs
// in them.
type cutLab struct {
	guest   *vm.Guest
	longest time.Duration // delay of a cut
	pool    string
	files   []vm.File
}

func newCutLab(t *testing.T) *cutLab {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "e2e.test")
	build := exec.Command("go", "test", "-c", "-tags", "vm", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lab, err := vm.Open(vm.DefaultSuite)
	if err != nil {
		t.Fatal(err)
	}
	guest, machine, err := lab.Prepare(t.Context(), "", os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	longest := longestDelay
	if machine.Kind == vm.KindQEMU {
		longest = longestDelayEmulated
	}
	return &cutLab{guest, longest, filepath.Join(dir, "pool.img"), []vm.File{
		{Host: program, Guest: "e2e.test", Executable: true},
		{Host: "../../build/plugin", Guest: "plugin"},
		{Host: "../../build/overlayzfs", Guest: "overlayzfs", Executable: true},
	}}
}

func (l *cutLab) start(t *testing.T, stage string, out *outputWatch) *vm.Machine {
	t.Helper()
	job := &vm.Job{
		Command: []string{"./e2e.test", "-test.v", "-test.timeout", "30m", "-test.run", "^TestMigrateUnderPowerCuts$"},
		Env:     map[string]string{"OVERLAYZFS_STAGE": stage, "OVERLAYZFS_PLUGIN_DIR": "/lab/job/plugin"},
		Files:   l.files, Merge: true,
	}
	m, err := l.guest.Start(t.Context(), vm.Options{KeepPool: l.pool}, job, out, out)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// stage runs one stage of the test to its end.
func (l *cutLab) stage(t *testing.T, stage string) {
	t.Helper()
	out := &outputWatch{words: []byte("this stage waits for no words")}
	m := l.start(t, stage, out)
	if code, err := m.Wait(); code != 0 || err != nil {
		t.Fatalf("stage %s: exit code %d, %v\n%s", stage, code, err, out.String())
	}
	t.Logf("stage %s\n%s", stage, out.String())
}

// cut starts a machine that migrates, and cuts its power.
func (l *cutLab) cut(t *testing.T, after time.Duration) {
	t.Helper()
	out := &outputWatch{words: []byte("GOING")}
	m := l.start(t, "go", out)
	out.callOnWords(func() { time.AfterFunc(after, m.Kill) })
	if code, err := m.Wait(); err == nil {
		t.Fatalf("the migration ended by itself with exit code %d\n%s", code, out.String())
	}
}

// outputWatch keeps a machine's output. It calls a function once, when the output
// contains some words.
type outputWatch struct {
	mu    sync.Mutex
	all   bytes.Buffer
	words []byte
	then  func()
}

func (h *outputWatch) Write(p []byte) (int, error) {
	h.mu.Lock()
	h.all.Write(p)
	h.mu.Unlock()
	h.callIfSeen()
	return len(p), nil
}

// callOnWords sets the function to call.
func (h *outputWatch) callOnWords(then func()) {
	h.mu.Lock()
	h.then = then
	h.mu.Unlock()
	h.callIfSeen()
}

func (h *outputWatch) callIfSeen() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.then != nil && bytes.Contains(h.all.Bytes(), h.words) {
		h.then()
		h.then = nil
	}
}

func (h *outputWatch) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.all.String()
}
